"""Equidistant clips, whatever they show: uniform and dense sampling (Table I)."""

from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.selections.selection import BASELINE_CLASSIFIER, DSN_CLASSIFIER, Kind
from dsn_lightning.video.sections import IntArray


class Uniform:
    """M equidistant clips (Table I, "Baseline (uniform)")."""

    name = "uniform"
    kind: Kind = "reference"
    sampler: str | None = None
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER, DSN_CLASSIFIER)

    def num_clips(self, scheme: Scheme) -> int:
        """Return the number of kept clips."""
        return scheme.num_sections

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the positions of the kept clips."""
        return scheme.uniform(num_frames, self.num_clips(scheme))

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the positions, (1, K)."""
        return self.candidates(scores.video_id, scores.num_frames, scheme)[None]


class Dense(Uniform):
    """10 equidistant clips of a trimmed video, 20 of an untrimmed one (Table I, "Dense sampling")."""

    name = "dense"
    classifiers: tuple[str, ...] = (BASELINE_CLASSIFIER,)

    def num_clips(self, scheme: Scheme) -> int:
        """Return the number of kept clips."""
        return scheme.dense_clips
