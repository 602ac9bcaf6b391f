"""The inputs of a selection method: the scheme of a test and the scores of one video.

A position is the first frame of a clip on the video's time line. Scores are keyed by position, never by an index into
a grid, because the methods' positions differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.video.sections import IntArray, Placement, section_clip_starts, section_of, uniform_clip_starts


@dataclass(frozen=True)
class Scheme:
    """The settings of a test.

    Attributes:
        num_sections: M, which is also the number of kept clips.
        clips_per_section: N, candidates in a section.
        clip_span: T * stride, frames of the time line that a clip covers.
        dense_clips: clips of dense sampling: 10 for trimmed, 20 for untrimmed videos (Sec. V-C).
        random_draws: draws over which the metrics of random sampling are averaged.
        seed: seed of the random draws.
        placement: what is divided into sections.
    """

    num_sections: int
    clips_per_section: int
    clip_span: int
    dense_clips: int
    random_draws: int
    seed: int = 0
    placement: Placement = "starts"

    def grid(self, num_frames: int) -> IntArray:
        """Return the first frames of the M:N candidates, (M, N)."""
        return section_clip_starts(
            num_frames,
            num_sections=self.num_sections,
            clips_per_section=self.clips_per_section,
            clip_span=self.clip_span,
            placement=self.placement,
        )

    def uniform(self, num_frames: int, num_clips: int) -> IntArray:
        """Return the first frames of equally spaced clips, (num_clips,)."""
        clips = {"num_clips": num_clips, "clip_span": self.clip_span}
        return uniform_clip_starts(num_frames, **clips, placement=self.placement)

    def sections_of(self, kept: IntArray, num_frames: int) -> IntArray:
        """Return the section that each kept clip belongs to, (K,), from their first frames (K,).

        If the M clips are, in order, a candidate or the middle clip of each section, clip m belongs to section m, even
        if its middle lies elsewhere, as in a short video. Otherwise each clip belongs to the section that contains its
        middle or, if it is a candidate, to the nearest section that has it as one.

        >>> scheme = Scheme(3, 3, clip_span=32, dense_clips=10, random_draws=10, placement="frames")
        >>> scheme.sections_of(np.array([0, 8, 8]), 40)  # the middles lie in the second section
        array([0, 1, 2])
        """
        grid = self.grid(num_frames)
        section_starts = np.column_stack([grid, self.uniform(num_frames, self.num_sections)])
        if len(kept) == self.num_sections and (section_starts == kept[:, None]).any(1).all():
            return np.arange(self.num_sections)
        sections = np.empty(len(kept), np.int64)
        for k, start in enumerate(kept):
            section = section_of(
                int(start),
                num_frames=num_frames,
                num_sections=self.num_sections,
                clip_span=self.clip_span,
                placement=self.placement,
            )
            candidate_of = np.flatnonzero((grid == start).any(1))
            sections[k] = candidate_of[np.abs(candidate_of - section).argmin()] if len(candidate_of) else section
        return sections


class SectionGrid:
    """Base of methods that choose among the M:N candidates."""

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the M:N grid."""
        return scheme.grid(num_frames).ravel()


@dataclass(frozen=True)
class VideoScores:
    """The stored scores of one video.

    Attributes:
        video_id: identifies the video.
        num_frames: L, length of its time line.
        targets: (J,), positive for its labels, else 0.
        logits: classifier -> first frame -> class logits, float32 (J,).
        policies: sampler -> (M, N) -> policy logits of the clips, float32 (M, N).
        nothing: sampler -> (M, N) -> its logits of skipping a section, float32 (M,); only for samplers that may.
    """

    video_id: str
    num_frames: int
    targets: NDArray[np.float32]
    logits: Mapping[str, Mapping[int, NDArray[np.float32]]] = field(default_factory=dict)
    policies: Mapping[str, Mapping[tuple[int, int], NDArray[np.float32]]] = field(default_factory=dict)
    nothing: Mapping[str, Mapping[tuple[int, int], NDArray[np.float32]]] = field(default_factory=dict)

    def logits_at(self, classifier: str, starts: IntArray) -> NDArray[np.float32]:
        """Return a classifier's stored logits, (..., J), for the clips at ``starts``, (...,)."""
        by_start = self.logits[classifier]
        return np.stack([by_start[int(start)] for start in starts.ravel()]).reshape(*starts.shape, -1)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities over the last axis.

    >>> softmax(np.zeros((1, 2), np.float32))
    array([[0.5, 0.5]])
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def take_best(grid: IntArray, values: NDArray[np.float64]) -> IntArray:
    """Return the position of the largest value in each section, (1, M); both arguments are (M, N)."""
    return grid[np.arange(len(grid)), values.argmax(-1)][None]
