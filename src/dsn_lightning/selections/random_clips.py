"""Random sampling: M clips drawn from the whole video (Table I, "Baseline (random)")."""

from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, Kind
from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.sections import IntArray, random_clip_starts


class Random:
    """M clips anywhere in the video. Metrics, not scores, are averaged over the draws."""

    name = "random"
    kind: Kind = "reference"
    sampler: str | None = None
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER,)

    def _draw(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        rng = stateless_rng(scheme.seed, video_id, scheme.num_sections, "random selection")
        shape = (scheme.random_draws, scheme.num_sections)
        starts = random_clip_starts(num_frames, num_clips=shape[0] * shape[1], clip_span=scheme.clip_span, rng=rng)
        return starts.reshape(shape)

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the positions of all draws."""
        return self._draw(video_id, num_frames, scheme).ravel()

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the draws, (D, M)."""
        return self._draw(scores.video_id, scores.num_frames, scheme)
