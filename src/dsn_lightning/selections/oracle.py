"""Upper bounds that know the label (Table I, "Oracle sampling")."""

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.selections.scheme import Scheme, SectionGrid, VideoScores, softmax, take_best
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, DSN_CLASSIFIER, Kind
from dsn_lightning.video.sections import IntArray


class Oracle(SectionGrid):
    """In each section the clip with the highest true-class score among those classified correctly, else among all."""

    name = "oracle"
    kind: Kind = "upper_bound"
    sampler: str | None = None
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER, DSN_CLASSIFIER)

    def _merit(self, scores: VideoScores, grid: IntArray, classifier: str) -> NDArray[np.float64]:
        """Return the true-class score, (M, N), raised by 1 where the clip's top-1 is correct."""
        probabilities = softmax(scores.logits_at(classifier, grid))
        positive = scores.targets > 0
        correct = positive[probabilities.argmax(-1)]
        return np.where(positive, probabilities, 0).max(-1) + correct

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the best clips, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, self._merit(scores, grid, classifier))


class OracleVideo(Oracle):
    """The single best candidate of the whole video: the answer is correct if that of any candidate is."""

    name = "oracle_video"
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER,)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the best clip, (1, 1)."""
        grid = scheme.grid(scores.num_frames).reshape(1, -1)
        return take_best(grid, self._merit(scores, grid, classifier))
