"""An observation network that compares each clip with the whole video (not the paper's)."""

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork


class VideoObservation(ObservationNetwork):
    """Scores each clip by its agreement with the whole video; takes any M and N.

    The trunk is a clip classifier. Let p_n be its class probabilities for a clip and q their mean over the video's
    M * N clips. The policy is proportional to (q . p_n) to a power. It favours clips that show with confidence what
    the video as a whole seems to show. The paper's policy (Eq. 3) depends only on the clips of one section.

    Args:
        trunk: clip classifier (B, C, T, H, W) -> (B, J), initialised from one trained as such.
        power: initial value, > 0; it is a parameter and is learned. The greater, the more certain the first policy.
        may_skip: True adds an arm, the last, for skipping the section. Its weight in the policy is the mean weight of
            the video's clips, (q . p_n) to the power, times a learned factor that starts at 1. So a section of average
            clips is at first skipped with probability 1 / (N + 1), and a worse one more often.

    Raises:
        UsageError: ``power`` is not above 0.
    """

    clips_per_section = None

    def __init__(self, trunk: ClipNetwork, *, power: float = 2.0, may_skip: bool = False) -> None:
        super().__init__()
        if power <= 0:
            raise UsageError(f"power={power}: must be above 0")
        check_clip_network(trunk, key="trunk")
        self.trunk = trunk
        self.head = f"trunk.{trunk.head}"
        self.power = nn.Parameter(torch.tensor(float(power)))
        self.may_skip = may_skip
        if may_skip:
            self.skip_bias = nn.Parameter(torch.zeros(()))  # log of the factor

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to logits (..., M, N), or (..., M, N + 1)."""
        *leading, c, t, h, w = clips.shape
        log_p = self.trunk(clips.reshape(-1, c, t, h, w)).log_softmax(-1).unflatten(0, leading)  # (..., M, N, J)
        log_q = log_p.logsumexp((-3, -2), keepdim=True)  # up to a constant
        logits: Tensor = self.power * (log_p + log_q).logsumexp(-1)
        if not self.may_skip:
            return logits
        total = logits.logsumexp((-2, -1), keepdim=True)  # (..., 1, 1)
        log_count = torch.zeros_like(logits).logsumexp((-2, -1), keepdim=True)
        skip = (total - log_count + self.skip_bias).expand_as(logits[..., :1])
        return torch.cat([logits, skip], -1)  # (..., M, N + 1)
