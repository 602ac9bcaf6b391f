"""The clip of each section on which the answering classifier itself is surest: what can be gained without the label.

It costs as much as classifying every candidate, so it is no row of a table but a mark beside the oracle's: the oracle
also takes clips that are right by luck, which nobody could find.
"""

from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax, take_best
from dsn_lightning.video.sections import IntArray


class MostConfident:
    """In each section the clip with the classifier's highest class probability, whatever the class."""

    name = "surest"
    classifiers: tuple[str, ...] = ("baseline", "dsn")
    sampler: str | None = None

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the surest clips, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, softmax(scores.of(classifier, grid)).max(-1))
