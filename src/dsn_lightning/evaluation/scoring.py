"""One pass of the networks over the test videos."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dsn_lightning.algorithms.dsn import DSN, Consensus
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.evaluation.scores import ClipScores, join_crops, weights_hash
from dsn_lightning.selections.scheme import Scheme, Selection
from dsn_lightning.video.clip_reader import ClipReader, Video
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.video_info import VideoError

_CLIPS_AT_ONCE = 64


@dataclass(frozen=True)
class Networks:
    """What answers in an evaluation.

    Attributes:
        classifiers: ``baseline``, ``dsn``, ``max_response`` -> recogniser whose classifier it is.
        samplers: ``dsn``, ``dsn_fixed`` -> DSN whose observation network it is.
    """

    classifiers: Mapping[str, Recognizer]
    samplers: Mapping[str, DSN]

    def can(self, selection: Selection, classifier: str) -> bool:
        """Whether everything is there for a row of results."""
        have = {*self.classifiers, *self.samplers}
        return classifier in self.classifiers and (selection.sampler is None or selection.sampler in have)

    def missing(self, selection: Selection, classifier: str) -> str:
        """Return what is not there for a row of results."""
        return classifier if classifier not in self.classifiers else str(selection.sampler)


class CandidateClips(Dataset[tuple[int, IntArray, Tensor | VideoError]]):
    """Videos with all the clips that any method asks for, each read once; the error in place of those of a bad one."""

    def __init__(self, videos: Sequence[Video], wanted: Sequence[IntArray], reader: ClipReader) -> None:
        self.videos = videos
        self.wanted = wanted
        self.reader = reader

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[int, IntArray, Tensor | VideoError]:
        try:
            return index, self.wanted[index], self.reader(self.videos[index], self.wanted[index])
        except VideoError as error:
            return index, self.wanted[index], error


@dataclass
class Stopwatch:
    """Seconds and clips that each network took."""

    seconds: dict[str, float] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)

    def time(self, name: str, num_clips: int, network: Callable[[Tensor], Tensor], clips: Tensor) -> Any:
        """Return ``network(clips)`` as an array and count its time for ``num_clips`` clips."""
        started = time.perf_counter()
        result = network(clips).float().cpu().numpy()  # waits for the device
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self.clips[name] = self.clips.get(name, 0) + num_clips
        return result

    @classmethod
    def sum(cls, parts: Iterable["Stopwatch"]) -> "Stopwatch":
        """Return what several processes have measured together."""
        total = cls()
        for part in parts:
            for name, seconds in part.seconds.items():
                total.seconds[name] = total.seconds.get(name, 0.0) + seconds
                total.clips[name] = total.clips.get(name, 0) + part.clips[name]
        return total

    def per_clip(self, name: str) -> float | None:
        """Return the mean seconds of one clip, or None for a network that did not run."""
        return self.seconds[name] / self.clips[name] if name in self.seconds else None


@torch.no_grad()
def score_videos(
    videos: Sequence[Video],
    reader: ClipReader,
    networks: Networks,
    selections: Iterable[Selection],
    schemes: Sequence[Scheme],
    *,
    classes: Sequence[str],
    device: torch.device,
    consensus: Consensus,
    crops: Literal[1, 3] = 1,
    num_workers: int = 0,
    start_workers: str | None = None,
    time_out: float = 0,
    skip_bad: bool = False,
    track: Callable[[Any], Iterable[Any]] = iter,
) -> tuple[ClipScores, Stopwatch, dict[str, VideoError]]:
    """Run every network once over every clip that some selection method may need.

    In several processes (torch.distributed) each takes its share of the videos, every one of which counts once; all
    return the scores of all videos.

    Args:
        videos: test videos.
        reader: reads their clips.
        networks: what answers.
        selections: methods that will be compared.
        schemes: the M:N of each test.
        classes: class names.
        device: where the networks run.
        consensus: how clips are averaged (Eq. 4), and with them crops.
        crops: windows of a clip that the classifiers look at; see `Crop`. Whatever only chooses clips looks at the
            middle one.
        num_workers: loader processes.
        start_workers: how: ``fork`` or ``spawn``; None leaves it to torch.
        time_out: seconds without a video after which a loader process is taken to hang; 0 waits for ever.
        skip_bad: go on where a video cannot be read.
        track: wraps the loop over videos, for a progress bar.

    Returns:
        The scores of all videos that could be read, the networks' times, and, by id, why the others could not.

    Raises:
        VideoError: a video cannot be read, and bad ones are not skipped, or none can be read.
    """
    selections = list(selections)
    wanted = [_wanted(video, networks, selections, schemes) for video in videos]  # name -> starts
    union = [np.unique(np.concatenate([np.empty(0, np.int64), *w.values()])) for w in wanted]
    modules: dict[str, nn.Module] = {n: r.classifier for n, r in networks.classifiers.items()}
    modules |= {f"{n} sampler": s.observation for n, s in networks.samplers.items()}
    for recognizer in {*networks.classifiers.values(), *networks.samplers.values()}:
        recognizer.to(device).eval()
    clip_rows: list[tuple[int, int, str, NDArray[np.float32]]] = []
    section_rows: list[tuple[int, tuple[int, int, int], str, NDArray[np.float32]]] = []
    watch = Stopwatch()
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank, processes = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if several else (0, 1)
    if crops > 1:
        assert isinstance(reader.crop, Crop)  # activations are of one window
        reader = replace(reader, crop=replace(reader.crop, windows=crops))
    candidates = CandidateClips(videos, union, reader)
    share = range(rank, len(videos), processes)
    patience = time_out if num_workers else 0
    method = start_workers if num_workers else None
    loader = DataLoader(
        candidates, batch_size=None, sampler=share, num_workers=num_workers, timeout=patience,
        multiprocessing_context=method,
    )  # fmt: skip
    bad: dict[int, VideoError] = {}
    for v, starts, clips in track(loader):
        if isinstance(clips, VideoError):
            if not skip_bad:
                raise clips
            bad[v] = clips
            continue
        place = {int(start): i for i, start in enumerate(starts)}
        middle = clips if crops == 1 else clips[:, crops // 2]  # (K, C, T, H, W) of (K, crops, C, T, H, W)
        for name, own in wanted[v].items():
            index = torch.tensor([place[int(s)] for s in own])
            seen = crops_seen(name, selections, crops)
            classify, views = partial(_classify, networks.classifiers[name], consensus), middle if seen == 1 else clips
            parts = [
                watch.time(name, len(p), classify, views[p].to(device)) for p in index.split(_CLIPS_AT_ONCE // seen)
            ]
            clip_rows += [(v, int(s), name, row) for s, row in zip(own, np.concatenate(parts), strict=True)]
        for scheme in schemes if networks.samplers else ():
            grid = scheme.grid(videos[v].num_frames)
            sections = middle[torch.tensor([place[int(s)] for s in grid.ravel()])].unflatten(0, grid.shape)
            for name, sampler in networks.samplers.items():
                batch = sections[None].to(device)  # (1, M, N, C, T, H, W)
                logits = watch.time(f"{name} sampler", grid.size, sampler.policy_logits, batch)[0]
                m, n = grid.shape
                section_rows += [(v, (m, n, section), name, row) for section, row in enumerate(logits)]
    if several:
        gathered: list[Any] = [None] * processes
        torch.distributed.all_gather_object(gathered, (clip_rows, section_rows, watch, bad))
        clip_rows = sorted((row for part in gathered for row in part[0]), key=lambda row: row[0])  # by video; stable
        section_rows = sorted((row for part in gathered for row in part[1]), key=lambda row: row[0])
        watch = Stopwatch.sum(part[2] for part in gathered)
        bad = {v: error for part in gathered for v, error in part[3].items()}
    if len(bad) == len(videos):
        raise bad[0]
    read = [v for v in range(len(videos)) if v not in bad]
    place = {v: i for i, v in enumerate(read)}
    clip_rows = [(place[v], start, name, row) for v, start, name, row in clip_rows]
    section_rows = [(place[v], scheme, name, row) for v, scheme, name, row in section_rows]
    scores = _columns([videos[v] for v in read], reader, modules, clip_rows, section_rows, classes)
    how = next(iter(schemes))
    scores = replace(
        scores, crops=crops, consensus=consensus, dense_clips=how.dense_clips, random_draws=how.random_draws,
        seed=how.seed,
    )  # fmt: skip
    return scores, watch, {videos[v].record.video_id: bad[v] for v in sorted(bad)}


def crops_seen(name: str, selections: Iterable[Selection], crops: int) -> int:
    """Return how many windows of a clip a network looks at: one if it answers for no selection and only chooses."""
    return crops if any(name in selection.classifiers for selection in selections) else 1


def _classify(recognizer: Recognizer, consensus: Consensus, clips: Tensor) -> Tensor:
    """Return logits (K, J) for clips (K, C, T, H, W), or for clips' crops (K, V, C, T, H, W)."""
    logits = recognizer.classify(clips)
    return join_crops(logits, consensus=consensus) if clips.dim() == 6 else logits


def _wanted(
    video: Video, networks: Networks, selections: Sequence[Selection], schemes: Sequence[Scheme]
) -> dict[str, IntArray]:
    """Return the positions that each classifier has to answer for."""
    by_name: dict[str, list[IntArray]] = {}
    for scheme in schemes:
        for selection in selections:
            for classifier in selection.classifiers:
                if not networks.can(selection, classifier):
                    continue
                starts = selection.candidates(video.record.video_id, video.num_frames, scheme)
                by_name.setdefault(classifier, []).append(starts)
                if selection.sampler in networks.classifiers:  # max response ranks with class scores
                    by_name.setdefault(str(selection.sampler), []).append(starts)
        if networks.samplers:
            by_name.setdefault(next(iter(networks.classifiers)), []).append(scheme.grid(video.num_frames).ravel())
    return {name: np.unique(np.concatenate(starts)) for name, starts in by_name.items()}


def _columns(
    videos: Sequence[Video],
    reader: ClipReader,
    modules: Mapping[str, nn.Module],
    clip_rows: list[tuple[int, int, str, NDArray[np.float32]]],
    section_rows: list[tuple[int, tuple[int, int, int], str, NDArray[np.float32]]],
    classes: Sequence[str],
) -> ClipScores:
    spans = [  # on the time line
        (v, (start - video.offset, end - video.offset))
        for v, video in enumerate(videos) for start, end in video.record.spans or ()
    ]  # fmt: skip
    width = max((len(row) for *_, row in section_rows), default=0)
    padded = np.full((len(section_rows), width), np.nan, np.float32)
    for i, (*_, row) in enumerate(section_rows):
        padded[i, : len(row)] = row
    return ClipScores(
        classes=np.array(list(classes)),
        frames_per_clip=reader.frames_per_clip,
        frame_stride=reader.frame_stride,
        video_id=np.array([video.record.video_id for video in videos]),
        num_frames=np.array([video.num_frames for video in videos]),
        fps=np.array([video.fps for video in videos]),
        targets=np.stack([label_vector(video.record.labels, len(classes)).numpy() for video in videos]),
        span_video=np.array([v for v, _ in spans], np.int64),
        span_seconds=np.array([span for _, span in spans], np.float64).reshape(-1, 2),
        network_name=np.array(list(modules)),
        network_hash=np.array([weights_hash(module) for module in modules.values()]),
        clip_video=np.array([row[0] for row in clip_rows], np.int64),
        clip_start=np.array([row[1] for row in clip_rows], np.int64),
        clip_network=np.array([row[2] for row in clip_rows]),
        clip_logits=np.stack([row[3] for row in clip_rows]),
        section_video=np.array([row[0] for row in section_rows], np.int64),
        section_scheme=np.array([row[1] for row in section_rows], np.int64).reshape(-1, 3),
        section_network=np.array([row[2] for row in section_rows], str),
        section_logits=padded,
    )
