"""Max response: the clip on which a separately trained light classifier is most confident (Table I)."""

from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax, take_best
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, Kind
from dsn_lightning.video.sections import IntArray


class MaxResponse:
    """In each section the clip with the highest class probability of a separately trained light classifier (V-C)."""

    name = "max_response"
    kind: Kind = "learned"
    sampler: str | None = "max_response"
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER,)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the clips with the highest response, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, softmax(scores.logits_at(str(self.sampler), grid)).max(-1))
