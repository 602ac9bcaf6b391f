"""The most probable clip of each section under a trained sampler: DSN and DSN-f (Table I)."""

import numpy as np

from dsn_lightning.selections.scheme import Scheme, SectionGrid, VideoScores, take_best
from dsn_lightning.selections.selection import Kind
from dsn_lightning.video.sections import IntArray

DSN_SAMPLER = "dsn"
"""The sampler of the paper's DSN, trained together with its classifier; the paper's tables report it as "DSN"."""


class Policy(SectionGrid):
    """The most probable clip of each section under a trained policy (Sec. III-B).

    Args:
        sampler: name of the sampler, which is also the name of the method: ``dsn``, ``dsn_fixed``, or another one.
        classifiers: names of the classifiers to evaluate, the main one first.
    """

    kind: Kind = "learned"

    def __init__(self, sampler: str, classifiers: tuple[str, ...]) -> None:
        self.name = sampler
        self.sampler: str | None = sampler
        self.classifiers = tuple(classifiers)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the most probable clips, (1, M)."""
        logits = scores.policies[str(self.sampler)][scheme.num_sections, scheme.clips_per_section]
        return take_best(scheme.grid(scores.num_frames), logits.astype(np.float64))
