"""Clips that a trained sampler or a light network ranks first in their section: DSN, DSN-f, max response (Table I)."""

import numpy as np

from dsn_lightning.selections.scheme import Scheme, VideoScores, take_best
from dsn_lightning.video.sections import IntArray


class Policy:
    """The most probable clip of each section under a trained policy (Sec. III-B).

    Args:
        sampler: ``dsn`` or ``dsn_fixed``.
        classifiers: whose classifiers answer.
    """

    def __init__(self, sampler: str, classifiers: tuple[str, ...]) -> None:
        self.name = sampler
        self.sampler = sampler
        self.classifiers = tuple(classifiers)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the most probable clips, (1, M)."""
        logits = scores.policies[self.sampler][scheme.num_sections, scheme.clips_per_section]
        return take_best(scheme.grid(scores.num_frames), logits.astype(np.float64))
