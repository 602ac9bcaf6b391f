"""The clips on which a classifier is most confident (Table I, "Max response")."""

from dsn_lightning.selections.scheme import Scheme, SectionGrid, VideoScores, softmax, take_best
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, DSN_CLASSIFIER, Kind
from dsn_lightning.video.sections import IntArray


class MaxResponse(SectionGrid):
    """In each section the clip with the highest class probability of a separately trained light classifier (V-C)."""

    name = "max_response"
    kind: Kind = "learned"
    sampler: str | None = "max_response"
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER,)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the clips with the highest response, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, softmax(scores.logits_at(self.sampler or classifier, grid)).max(-1))


class MostConfident(MaxResponse):
    """In each section the clip on which the answering classifier is most confident: the gain that needs no label.

    It costs as much as classifying every candidate, so it has no row in the results. The headroom analysis shows it
    beside the oracle: the oracle also keeps clips that are classified correctly by chance, which no sampler could find.
    """

    name = "surest"
    kind: Kind = "reference"
    sampler: str | None = None
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER, DSN_CLASSIFIER)
