"""Max response: the clip on which a separately trained light classifier is most confident (Table I)."""

from dsn_lightning.selections.scheme import Scheme, VideoScores, softmax, take_best
from dsn_lightning.video.sections import IntArray


class MaxResponse:
    """The clip on which a separately trained light classifier is surest of any class (Sec. V-C)."""

    name = "max_response"
    sampler = "max_response"
    classifiers = ("baseline",)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the clips with the highest response, (1, M)."""
        grid = scheme.grid(scores.num_frames)
        return take_best(grid, softmax(scores.of(self.sampler, grid)).max(-1))
