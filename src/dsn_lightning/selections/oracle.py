"""Upper bounds that look at the label (Table I, "Oracle sampling")."""

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax, take_best
from dsn_lightning.video.sections import IntArray


class Oracle:
    """In each section the clip with the highest true-class score among those classified right, else among all."""

    name = "oracle"
    classifiers: tuple[str, ...] = ("baseline", "dsn")
    sampler = None

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def _merit(self, scores: VideoScores, grid: IntArray, classifier: str) -> NDArray[np.float64]:
        """True-class score, (M, N), raised by 1 where the clip's own top-1 is right."""
        probabilities = softmax(scores.of(classifier, grid))
        positive = scores.targets > 0
        right = positive[probabilities.argmax(-1)]
        return np.where(positive, probabilities, 0).max(-1) + right

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the best clips, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, self._merit(scores, grid, classifier))


class OracleVideo(Oracle):
    """The single best candidate of the whole video: right if any candidate is."""

    name = "oracle_video"
    classifiers = ("baseline",)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the best clip, (1, 1)."""
        grid = scheme.grid(scores.num_frames).reshape(1, -1)
        return take_best(grid, self._merit(scores, grid, classifier))
