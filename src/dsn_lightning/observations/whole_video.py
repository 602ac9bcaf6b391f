"""An observation network that holds each clip against the whole video (not the paper's)."""

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError


class VideoObservation(nn.Module):
    """Scores each clip by how far it agrees with the whole video; takes any M and N.

    The observation network is a clip classifier here. With p_n its class probabilities of a clip and q their mean over
    the video's M * N clips, P is in proportion to (q . p_n) to a power: likely are clips that show, surely, what the
    video as a whole seems to show, not what merely stands out in its section.

    Not the paper's: in Eq. 3 a section's policy depends on its own clips alone, which do not tell the video's action
    from another one. It looks at the same clips at the same cost.

    Args:
        trunk: clip classifier (B, C, T, H, W) -> (B, J), started from one that was trained as such.
        power: at the beginning, > 0; it is learned along. The greater, the surer the first policy.
    """

    def __init__(self, trunk: nn.Module, *, power: float = 2.0) -> None:
        super().__init__()
        if power <= 0:
            raise UsageError(f"observation.network.power={power}: must be above 0")
        self.trunk = trunk
        self.power = nn.Parameter(torch.tensor(float(power)))

    @property
    def fc(self) -> nn.Module:
        """The classification layer, which may have a learning rate of its own."""
        return self.trunk.get_submodule(str(getattr(self.trunk, "head", "fc")))

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to policy logits (..., M, N)."""
        *leading, c, t, h, w = clips.shape
        log_p = self.trunk(clips.reshape(-1, c, t, h, w)).log_softmax(-1).unflatten(0, leading)  # (..., M, N, J)
        log_q = log_p.logsumexp((-3, -2), keepdim=True)  # but for a constant
        return self.power * (log_p + log_q).logsumexp(-1)
