"""Clips at equal distance, whatever they show: uniform and dense sampling (Table I)."""

from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.video.sections import IntArray, uniform_clip_starts


class Uniform:
    """M clips at equal distance (Table I, "Baseline (uniform)")."""

    name = "uniform"
    classifiers: tuple[str, ...] = ("baseline", "dsn")
    sampler = None

    def num_clips(self, scheme: Scheme) -> int:
        """Return how many clips are kept."""
        return scheme.num_sections

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the kept clips' positions."""
        return uniform_clip_starts(num_frames, num_clips=self.num_clips(scheme), clip_span=scheme.clip_span)

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the positions, (1, K)."""
        return self.candidates(scores.video_id, scores.num_frames, scheme)[None]


class Dense(Uniform):
    """10 clips of a trimmed video, 20 of an untrimmed one, at equal distance (Table I, "Dense sampling")."""

    name = "dense"
    classifiers = ("baseline",)

    def num_clips(self, scheme: Scheme) -> int:
        """Return how many clips are kept."""
        return scheme.dense_clips
