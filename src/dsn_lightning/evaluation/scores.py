"""The clip-score file: the seam between the networks and every analysis of them.

One `.npz` file stores, in columns, the classifiers' float32 logits keyed by video, first frame and classifier, and the
samplers' logits keyed by video, M, N, section and sampler. T, the stride and the settings of the test apply to the
whole file; a hash of its weights identifies each network. NumPy alone reads the file.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsn_lightning.consensus import Consensus, consensus_log_probabilities
from dsn_lightning.evaluation.array_archive import open_arrays
from dsn_lightning.files import UnreadableFileError, replaced
from dsn_lightning.selections import Scheme, VideoScores
from dsn_lightning.video.sections import Placement

_MAX_FRAMES = 10**9
_COLUMNS = {  # name -> kinds of NumPy types, axes
    "classes": ("U", "J"),
    "video_id": ("U", "V"),
    "num_frames": ("i", "V"),
    "fps": ("f", "V"),
    "targets": ("f", "VJ"),
    "span_video": ("i", "W"),
    "span_seconds": ("f", "W2"),
    "network_name": ("U", "P"),
    "network_hash": ("U", "P"),
    "clip_video": ("i", "K"),
    "clip_start": ("i", "K"),
    "clip_network": ("U", "K"),
    "clip_logits": ("f", "KJ"),
    "section_video": ("i", "S"),
    "section_scheme": ("i", "S3"),
    "section_network": ("U", "S"),
    "section_logits": ("f", "SN"),
    "section_nothing": ("f", "S"),
}
_SCALARS = {"frames_per_clip": 10**6, "frame_stride": 10**6, "crops": 1000, "dense_clips": 10**5} | {
    "random_draws": 10**4,
    "seed": 2**63,
}  # name -> largest value


@dataclass(frozen=True)
class ClipScores:
    """Columns of the clip-score file; K clip rows, S section rows, V videos, W spans, J classes."""

    classes: NDArray[np.str_]  #: (J,) names
    frames_per_clip: int  #: T
    frame_stride: int  #: distance between the frames of a clip, in frames of the time line
    video_id: NDArray[np.str_]  #: (V,)
    num_frames: NDArray[np.int64]  #: (V,), length of each time line
    fps: NDArray[np.float64]  #: (V,), frames per second of each time line
    targets: NDArray[np.float32]  #: (V, J), positive at the labels
    span_video: NDArray[np.int64]  #: (W,), index into the videos, for each annotated span of the action
    span_seconds: NDArray[np.float64]  #: (W, 2), start and end of the span, half-open
    network_name: NDArray[np.str_]  #: (P,), names of the classifiers, and of the samplers as in `sampler_network`
    network_hash: NDArray[np.str_]  #: (P,), hash of the weights that produced the rows
    clip_video: NDArray[np.int64]  #: (K,), index into the videos
    clip_start: NDArray[np.int64]  #: (K,), first frame
    clip_network: NDArray[np.str_]  #: (K,), name of the classifier
    clip_logits: NDArray[np.float32]  #: (K, J); with several crops, their consensus (see `join_crops`)
    section_video: NDArray[np.int64]  #: (S,), index into the videos
    section_scheme: NDArray[np.int64]  #: (S, 3): M, N, section
    section_network: NDArray[np.str_]  #: (S,), name of the sampler
    section_logits: NDArray[np.float32]  #: (S, N), of the clips, padded with NaN where N differs
    section_nothing: NDArray[np.float32]  #: (S,), logit of skipping the section; NaN for a sampler that must not
    crops: int = 1  #: number of windows of each clip that the classifiers saw
    consensus: Consensus = "probabilities"  #: how clips, and crops, are averaged (Eq. 4)
    dense_clips: int = 10  #: see `Scheme`
    random_draws: int = 10  #: see `Scheme`
    seed: int = 0  #: see `Scheme`
    placement: Placement = "starts"  #: see `Scheme`

    @property
    def clip_span(self) -> int:
        """Frames of the time line that a clip covers."""
        return int(self.frames_per_clip * self.frame_stride)

    def save(self, path: Path) -> None:
        """Write the file; it appears whole or not at all."""
        with replaced(path) as partial:
            np.savez_compressed(partial, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "ClipScores":
        """Read the file.

        Raises:
            FileNotFoundError: it does not exist.
            UnreadableFileError: it is damaged, its columns contradict each other, or scores are not finite.
        """
        with open_arrays(path) as file:
            columns = {f.name: file[f.name] for f in fields(cls)}
        single = {name: column.item() for name, column in columns.items() if column.ndim == 0}
        scores = cls(**{**columns, **single})
        if problem := scores._problem():
            raise UnreadableFileError(path, f"unexpected content: {problem}")
        return scores

    def _problem(self) -> str:
        """Return in which way the columns are not what they should be; empty if all is well."""
        lengths = {"2": 2, "3": 3}
        for name, (kind, axes) in _COLUMNS.items():
            column = getattr(self, name)
            if not isinstance(column, np.ndarray) or column.dtype.kind not in kind or column.ndim != len(axes):
                return f"{name} is no array of the right type with {len(axes)} axes"
            for axis, length in zip(axes, column.shape, strict=True):
                if lengths.setdefault(axis, length) != length:
                    return f"{name} has {length} entries along {axis}, others have {lengths[axis]}"
        if not (lengths["V"] and lengths["J"]):
            return "it has no videos, or no classes"
        for name, largest in _SCALARS.items():
            if type(value := getattr(self, name)) is not int or not 0 <= value <= largest:
                return f"{name} is {value!r}"
        if self.consensus not in get_args(Consensus) or self.placement not in get_args(Placement):
            return f"consensus is {self.consensus!r} and placement is {self.placement!r}"
        indices = [(self.span_video, len(self.video_id)), (self.clip_video, len(self.video_id))]
        indices += [(self.section_video, len(self.video_id)), (self.num_frames - 1, _MAX_FRAMES)]
        m, n, section = self.section_scheme.T
        indices += [(m - 1, max(1, len(m))), (n - 1, self.section_logits.shape[1]), (section, m)]
        if not all(((index >= 0) & (index < size)).all() for index, size in indices):
            return "an index is out of range"
        if len(set(self.video_id.tolist())) < len(self.video_id):
            return "a video is there twice"
        if not ((self.targets >= 0) & (self.targets <= 1)).all():  # NaN is neither
            return "a target is not in [0, 1]"
        if not self._has_all_sections():
            return "a section of a video is missing, or there twice"
        if np.isinf(self.section_nothing).any() or not self._same_in_sections(np.isnan(self.section_nothing)):
            return "section_nothing: expected finite values, or NaN in all of a sampler's sections of a video"
        if not ((self.fps > 1e-3) & (self.fps < 1e9)).all():
            return "a frame rate is out of range"
        if network := self.network_not_finite():
            return f"the scores of the network {network} are not finite"
        return "" if np.isfinite(self.span_seconds).all() else "a span is not finite"

    def _has_all_sections(self) -> bool:
        """Return whether the sampler's rows of each video, M and N are those of its M sections, each once."""
        _, network = np.unique(self.section_network, return_inverse=True)
        m, n, section = self.section_scheme.T
        rows = np.stack([self.section_video, network, m, n, section], axis=1)
        grids, count = np.unique(np.unique(rows, axis=0)[:, :4], axis=0, return_counts=True)
        return int(count.sum()) == len(rows) and bool((count == grids[:, 2]).all())

    def _same_in_sections(self, flags: NDArray[np.bool_]) -> bool:
        """Return whether a flag (S,) of a sampler's rows is the same for all sections of a video, M and N."""
        _, network = np.unique(self.section_network, return_inverse=True)
        rows = np.column_stack([self.section_video, network, self.section_scheme[:, :2], flags])
        found = np.unique(rows, axis=0)
        return len(np.unique(found[:, :-1], axis=0)) == len(found)

    def network_not_finite(self) -> str | None:
        """Return the name of a network with a score that is not finite; None if all are."""
        clips = np.isfinite(self.clip_logits).all(1)
        padded = np.arange(self.section_logits.shape[1]) >= self.section_scheme[:, 1:2]  # (S, N)
        sections = (np.isfinite(self.section_logits) | padded).all(1)
        samplers = [sampler_network(str(name)) for name in self.section_network[~sections]]
        return next(iter([*map(str, self.clip_network[~clips]), *samplers]), None)

    def scheme(self, num_sections: int, clips_per_section: int) -> Scheme:
        """Return the scheme of the M:N test."""
        return Scheme(
            num_sections,
            clips_per_section,
            self.clip_span,
            dense_clips=self.dense_clips,
            random_draws=self.random_draws,
            seed=self.seed,
            placement=self.placement,
        )

    def videos(self) -> list[VideoScores]:
        """Return the scores video by video, as selection methods take them."""
        logits: list[dict] = [defaultdict(dict) for _ in self.video_id]
        clips = zip(self.clip_video, self.clip_start, self.clip_network, self.clip_logits, strict=True)
        for video, start, network, row in clips:
            logits[video][str(network)][int(start)] = row
        policies: list[dict] = [defaultdict(dict) for _ in self.video_id]
        nothing: list[dict] = [defaultdict(dict) for _ in self.video_id]
        sections = zip(self.section_video, self.section_scheme, self.section_network, strict=True)
        for i, (video, (m, n, section), network) in enumerate(sections):
            scheme, sampler = (int(m), int(n)), str(network)
            policies[video][sampler].setdefault(scheme, np.empty(scheme, np.float32))[section] = self.section_logits[
                i, : scheme[1]
            ]
            if not np.isnan(self.section_nothing[i]):
                nothing[video][sampler].setdefault(scheme, np.empty(m, np.float32))[section] = self.section_nothing[i]
        columns = zip(self.video_id, self.num_frames, self.targets, logits, policies, nothing, strict=True)
        return [VideoScores(str(video), int(frames), *rest) for video, frames, *rest in columns]

    def shows_action(self, video: int, starts: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return whether at least half of each clip lies in a span of the action; None for a video without spans."""
        spans = self.span_seconds[self.span_video == video] * self.fps[video]  # (W', 2) in frames
        if not len(spans):
            return None
        first, last = starts[..., None], starts[..., None] + self.clip_span
        overlap = np.minimum(last, spans[:, 1]) - np.maximum(first, spans[:, 0])
        return overlap.clip(min=0).sum(-1) >= self.clip_span / 2 - 1e-6


def sampler_network(sampler: str) -> str:
    """Return the name of a sampler's network in `ClipScores.network_name`; a classifier's is the classifier's name.

    >>> sampler_network("dsn")
    'dsn sampler'
    """
    return f"{sampler} sampler"


def join_crops(logits: Tensor, *, consensus: Consensus) -> Tensor:
    """Return one row of logits (..., J) for the crops of a clip (..., V, J).

    The result is the log of the mean probabilities, or the mean logits up to a constant that changes no probability.
    The consensus over clips then equals the consensus over the crops of all clips.

    >>> crops = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]).log()
    >>> join_crops(crops, consensus="probabilities").softmax(-1)
    tensor([0.7000, 0.3000])
    """
    return consensus_log_probabilities(logits, consensus=consensus)


def weights_hash(network: nn.Module) -> str:
    """Return a hash of a network's parameters and buffers, 16 hex digits."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
