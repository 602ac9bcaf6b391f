"""An observation network that compares the class scores of a section's clips (not the paper's)."""

import math

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network, classification_layer
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork


class SectionObservation(ObservationNetwork):
    """Scores each clip by its confidence and its agreement with its section; takes any M and N.

    As in Eq. 3, a section's policy depends on all of its clips and on no others. The trunk is a clip classifier. Let
    z_n be its class logits for a clip, p_n = softmax(z_n), r_n = softmax(sharpness z_n), and q the mean of r_n over the
    section's N clips. The policy is proportional to

        (q . r_n)^agreement  (max_j p_nj)^confidence  exp(w . r_n)

    With agreement = w = 0 its most probable clip is that of max response. Everything is learned: the weights w of the
    classes start at 0, the three numbers at the values of the arguments.

    Args:
        trunk: clip classifier (B, C, T, H, W) -> (B, J), initialised from one trained as such.
        agreement: initial value, >= 0.
        confidence: initial value, >= 0.
        sharpness: initial value, > 0; below 1, other classes than the most probable one count more.
        may_skip: True adds an arm, the last, for skipping the section. Its weight in the policy is that of a clip whose
            class probabilities are all equal, times a learned factor that starts at 1.

    Raises:
        UsageError: an argument is out of its range, or the trunk gives no classes.
    """

    head = "scorer"
    clips_per_section = None

    def __init__(
        self,
        trunk: ClipNetwork,
        *,
        agreement: float = 2.0,
        confidence: float = 1.0,
        sharpness: float = 0.4,
        may_skip: bool = False,
    ) -> None:
        super().__init__()
        for name, value in {"agreement": agreement, "confidence": confidence}.items():
            if value < 0:
                raise UsageError(f"{name}={value}: must be at least 0")
        if sharpness <= 0:
            raise UsageError(f"sharpness={sharpness}: must be above 0")
        check_clip_network(trunk, key="trunk")
        layer = next(classification_layer(trunk).parameters(), None)
        if layer is None:
            raise UsageError("trunk: expected a clip classifier, but its head has no weights of classes")
        self.trunk = trunk
        self.may_skip = may_skip
        self.scorer = SectionScorer(
            len(layer), agreement=agreement, confidence=confidence, sharpness=sharpness, may_skip=may_skip
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N), or (..., N + 1)."""
        *leading, c, t, h, w = clips.shape
        logits: Tensor = self.scorer(self.trunk(clips.reshape(-1, c, t, h, w)).unflatten(0, leading))
        return logits


class SectionScorer(nn.Module):
    """The head of `SectionObservation`: class logits of clips (..., N, J) -> policy logits; see there."""

    def __init__(
        self, num_classes: int, *, agreement: float, confidence: float, sharpness: float, may_skip: bool
    ) -> None:
        super().__init__()
        self.agreement = nn.Parameter(torch.tensor(float(agreement)))
        self.confidence = nn.Parameter(torch.tensor(float(confidence)))
        self.sharpness = nn.Parameter(torch.tensor(float(sharpness)))
        self.class_weights = nn.Parameter(torch.zeros(num_classes))
        self.skip_bias = nn.Parameter(torch.zeros(())) if may_skip else None  # log of the factor

    def forward(self, scores: Tensor) -> Tensor:
        """Map the class logits of the clips (..., N, J) to policy logits (..., N), or (..., N + 1)."""
        log_r = (self.sharpness * scores).log_softmax(-1)  # (..., N, J)
        log_q = log_r.logsumexp(-2, keepdim=True) - math.log(scores.shape[-2])  # (..., 1, J)
        agreement = (log_r + log_q).logsumexp(-1)
        confidence = scores.log_softmax(-1).amax(-1)
        logits: Tensor = self.agreement * agreement + self.confidence * confidence + log_r.exp() @ self.class_weights
        if self.skip_bias is None:
            return logits
        log_even = -math.log(scores.shape[-1])  # of a class, and of the agreement with any other clip
        even = (self.agreement + self.confidence) * log_even + self.class_weights.mean()
        return torch.cat([logits, (even + self.skip_bias).expand_as(logits[..., :1])], -1)
