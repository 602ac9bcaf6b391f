"""How clips are chosen at test time: one file a selection method, pure functions of stored scores.

A method says which positions it needs scores of (`Selection.candidates`) and which of them it keeps
(`Selection.select`). Positions are first frames on a video's time line. Scores come as a `VideoScores`, in which
nothing is keyed by a place in some method's grid, since the methods' positions differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.video.sections import IntArray, section_clip_starts, section_of, uniform_clip_starts


@dataclass(frozen=True)
class Scheme:
    """How a test is made.

    Attributes:
        num_sections: M; as many clips are kept.
        clips_per_section: N, candidates of a section.
        clip_span: T * stride, frames of the time line that a clip covers.
        dense_clips: clips of dense sampling: 10 for trimmed, 20 for untrimmed videos (Sec. V-C).
        random_draws: draws that random sampling's metrics are averaged over.
        seed: of the random draws.
    """

    num_sections: int
    clips_per_section: int
    clip_span: int
    dense_clips: int
    random_draws: int
    seed: int = 0

    def grid(self, num_frames: int) -> IntArray:
        """Return the first frames of the M:N candidates, (M, N)."""
        return section_clip_starts(
            num_frames,
            num_sections=self.num_sections,
            clips_per_section=self.clips_per_section,
            clip_span=self.clip_span,
        )

    def sections_of(self, kept: IntArray, num_frames: int) -> IntArray:
        """Return the section that each of the kept clips stands for, (K,).

        Where M clips are a candidate or the middle clip of each section in turn, theirs, wherever they were shifted to
        in a short video. Otherwise the one in which a clip's centre lies, or the nearest that it is a candidate of.

        Args:
            kept: first frames, (K,).
            num_frames: L, length of the video.

        >>> scheme = Scheme(num_sections=3, clips_per_section=3, clip_span=32, dense_clips=10, random_draws=10)
        >>> scheme.sections_of(np.array([0, 8, 8]), 40)  # the centres lie in the second
        array([0, 1, 2])
        """
        grid = self.grid(num_frames)
        middle = uniform_clip_starts(num_frames, num_clips=self.num_sections, clip_span=self.clip_span)
        own = np.column_stack([grid, middle])
        if len(kept) == self.num_sections and (own == kept[:, None]).any(1).all():
            return np.arange(self.num_sections)
        sections = np.empty(len(kept), np.int64)
        for k, start in enumerate(kept):
            centred = section_of(
                int(start), num_frames=num_frames, num_sections=self.num_sections, clip_span=self.clip_span
            )
            holding = np.flatnonzero((grid == start).any(1))
            sections[k] = holding[np.abs(holding - centred).argmin()] if len(holding) else centred
        return sections


@dataclass(frozen=True)
class VideoScores:
    """What is known of one video.

    Attributes:
        video_id: its id.
        num_frames: L, length of its time line.
        targets: (J,), positive at its labels.
        logits: by classifier (``baseline``, ``dsn``, ``max_response``), then first frame: float32 (J,).
        policies: by sampler (``dsn``, ``dsn_fixed``), then (M, N): float32 (M, N) policy logits.
    """

    video_id: str
    num_frames: int
    targets: NDArray[np.float32]
    logits: Mapping[str, Mapping[int, NDArray[np.float32]]] = field(default_factory=dict)
    policies: Mapping[str, Mapping[tuple[int, int], NDArray[np.float32]]] = field(default_factory=dict)

    def of(self, classifier: str, starts: IntArray) -> NDArray[np.float32]:
        """Return a classifier's logits at ``starts`` (...,): (..., J)."""
        known = self.logits[classifier]
        return np.stack([known[int(s)] for s in starts.ravel()]).reshape(*starts.shape, -1)


class Selection(Protocol):
    """A way to choose a video's clips.

    Attributes:
        name: in results.
        classifiers: whose classifiers answer for the chosen clips, a row of results each, the method's own first.
        sampler: whose policy or scores it needs, as named in `VideoScores`; None if nobody's.
    """

    name: str
    classifiers: tuple[str, ...]
    sampler: str | None

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return every position whose class scores `select` or its result may need, (K,)."""

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the first frames of the kept clips, (D, K): D draws of K clips (D = 1 unless it is random)."""


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities over the last axis.

    >>> softmax(np.zeros((1, 2), np.float32))
    array([[0.5, 0.5]])
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def take_best(grid: IntArray, values: NDArray[np.float64]) -> IntArray:
    """Return the position of each section's largest value, (1, M), from grids (M, N)."""
    return grid[np.arange(len(grid)), values.argmax(-1)][None]
