"""A reward relative to the section: what a clip adds to the log-likelihood of the label (not the paper's)."""

from dataclasses import dataclass

from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.rewards.reward import with_nothing
from dsn_lightning.rewards.true_class import label_probability


@dataclass(frozen=True)
class SectionGain:
    """The log ratio of a clip's probability of the label to the mean of its section, in nats. See `Reward`.

    R of clip n is log p_n - log mean_k p_k; p_n is the probability of the true class. Sections in which all clips are
    equally good, or equally useless, teach the sampler nothing. It has no price of kept clips, because it does not say
    what a section is worth to the video.

    Attributes:
        floor: smallest probability that counts, in (0, 1); smaller ones are raised to it, so that no single clip
            outweighs all others.
    """

    floor: float = 0.01
    compares_clips = True

    def __post_init__(self) -> None:
        check_floor(self.floor)

    def __call__(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of each arm, (B, M, N + 1)."""
        probability = label_probability(logits, targets).clamp(min=self.floor)  # (B, M, N)
        return with_nothing(probability.log() - probability.mean(-1, keepdim=True).log(), price=0.0)


def check_floor(floor: float) -> None:
    """Check the smallest probability that counts.

    Raises:
        UsageError: it is not in (0, 1).
    """
    if type(floor) is not float or not 0 < floor < 1:
        raise UsageError(f"reward.floor={floor}: must be above 0 and below 1")
