"""The clip of each section on which the answering classifier is most confident: the gain that needs no label.

It costs as much as classifying every candidate, so it has no row in the results. The headroom analysis shows it beside
the oracle: the oracle also keeps clips that are classified correctly by chance, which no sampler could find.
"""

from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax, take_best
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, DSN_CLASSIFIER, Kind
from dsn_lightning.video.sections import IntArray


class MostConfident:
    """In each section the clip with the classifier's highest class probability, whatever the class."""

    name = "surest"
    kind: Kind = "reference"
    sampler: str | None = None
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER, DSN_CLASSIFIER)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the most confidently classified clips, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, softmax(scores.logits_at(classifier, grid)).max(-1))
