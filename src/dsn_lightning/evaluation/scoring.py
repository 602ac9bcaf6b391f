"""One pass of the networks over the test videos: every clip that some selection method may need is scored once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.consensus import Consensus
from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.clip_loading import Loading, clip_loader, rank_and_processes
from dsn_lightning.evaluation.scores import ClipScores, join_crops, sampler_network, weights_hash
from dsn_lightning.evaluation.stopwatch import Stopwatch
from dsn_lightning.selections import Scheme, Selection
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

_CLIPS_AT_ONCE = 64  # that a classifier sees
_CLIPS_OF_A_GROUP = 256  # of the videos that a GPU scores together

ClipRow = tuple[int, int, str, NDArray[np.float32]]  # video, first frame, classifier, logits (J,)
SectionRow = tuple[int, tuple[int, int, int], str, NDArray[np.float32]]  # video, (M, N, section), sampler, logits (A,)


@dataclass(frozen=True)
class Networks:
    """The networks of an evaluation: recognizers by their classifier's name, DSNs by their observation network's."""

    classifiers: Mapping[str, Recognizer]
    samplers: Mapping[str, DSN]

    def can(self, selection: Selection, classifier: str) -> bool:
        """Return whether all networks of a row of results are available."""
        available = {*self.classifiers, *self.samplers}
        return classifier in self.classifiers and (selection.sampler is None or selection.sampler in available)

    def missing(self, selection: Selection, classifier: str) -> str:
        """Return the name of a network that a row of results needs and that is not available."""
        return classifier if classifier not in self.classifiers else str(selection.sampler)

    def modules(self) -> dict[str, nn.Module]:
        """Return the classifiers and observation networks by their names in the clip-score file."""
        modules: dict[str, nn.Module] = {name: r.classifier for name, r in self.classifiers.items()}
        return modules | {sampler_network(name): sampler.observation for name, sampler in self.samplers.items()}

    def prepare(self, device: torch.device) -> None:
        """Move all networks to the device and set them to evaluation mode."""
        for recognizer in {*self.classifiers.values(), *self.samplers.values()}:
            recognizer.to(device).eval()


@dataclass(frozen=True)
class ScoringPlan:
    """What is scored."""

    videos: Sequence[Video]  #: the test videos
    selections: Sequence[Selection]  #: the selection methods that will be compared
    schemes: Sequence[Scheme]  #: the M:N of each test; they differ in nothing else
    classes: Sequence[str]  #: names of the classes
    consensus: Consensus  #: how clips, and their crops, are averaged (Eq. 4)
    #: windows of a clip that the classifiers see; see `Crop`. Networks that only choose clips see the middle window.
    crops: Literal[1, 3] = 1


@dataclass(frozen=True)
class _VideoClips:
    """The clips of one video that some network scores."""

    video: int  # index of the video
    starts: IntArray  # ascending first frames, (K,)
    wanted: Mapping[str, IntArray]  # classifier -> first frames of the clips that it scores
    clips: Tensor  # (K, C, T, H, W), or (K, V, C, T, H, W) with several crops
    crops: int  # V

    def index(self, starts: int | IntArray) -> Tensor:
        """Return the indices of some of the clips, (...,), from their first frames (...,)."""
        return torch.as_tensor(np.searchsorted(self.starts, starts))

    def seen(self, crops: int) -> Tensor:
        """Return the clips as a network sees them: all crops, or the middle one."""
        return self.clips if crops == self.crops else self.clips[:, self.crops // 2]


@dataclass
class _Scored:
    """What the pass has produced so far."""

    clip_rows: list[ClipRow] = field(default_factory=list)
    section_rows: list[SectionRow] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)
    failed: dict[int, VideoError] = field(default_factory=dict)  # index of a video -> why it could not be read
    nonfinite: dict[int, str] = field(default_factory=dict)  # index of a video -> network whose scores are not finite


@torch.no_grad()
def score_videos(
    plan: ScoringPlan,
    reader: ClipReader,
    networks: Networks,
    *,
    device: torch.device,
    loading: Loading | None = None,
    track: Callable[[Any], Iterable[Any]] = iter,
    together: int | None = None,
) -> tuple[ClipScores, Stopwatch, dict[str, VideoError]]:
    """Run every network once over every clip that some selection method may need.

    Under torch.distributed, each process scores its share of the videos; all processes return the scores of all videos.
    ``track`` wraps the loop over videos, for a progress bar. Videos are scored together until they have ``together``
    clips; None: 256 on a GPU, and one video after the other on the CPU, which gains nothing by larger batches.

    Returns:
        The scores of all readable videos, the networks' times, and the errors of the other videos by video id.

    Raises:
        VideoError: no video can be read, or one cannot be read and ``loading.skip_bad`` is off.
        UsageError: a network's scores of a video are not finite.
    """
    loading = loading or Loading()
    wanted = [_wanted_clips(plan, networks, video) for video in plan.videos]  # classifier -> first frames
    starts = [np.unique(np.concatenate([np.empty(0, np.int64), *by_name.values()])) for by_name in wanted]
    networks.prepare(device)
    scored, group = _Scored(), list[_VideoClips]()
    enough = together or (1 if device.type == "cpu" else _CLIPS_OF_A_GROUP)
    for v, clips in track(clip_loader(plan.videos, starts, reader, crops=plan.crops, loading=loading)):
        if isinstance(clips, VideoError):
            if not loading.skip_bad:
                raise clips
            scored.failed[v] = clips
            continue
        group.append(_VideoClips(v, starts[v], wanted[v], clips, plan.crops))
        if sum(len(loaded.starts) for loaded in group) >= enough:
            _score_group(group, plan, networks, device, scored)
            group = []
        if scored.nonfinite:
            break
    _score_group(group, plan, networks, device, scored)
    scored = _gathered(scored)
    if scored.nonfinite:
        v, name = min(scored.nonfinite.items())
        raise UsageError(
            f"the scores of the network {name} for video {plan.videos[v].record.video_id} are not finite; "
            "nothing is reported; train it again with a lower schedule.lr or schedule.gradient_clip"
        )
    if len(scored.failed) == len(plan.videos):
        raise scored.failed[0]
    failed = {plan.videos[v].record.video_id: scored.failed[v] for v in sorted(scored.failed)}
    return _columns(scored, plan, reader, networks), scored.watch, failed


def crops_seen(name: str, selections: Iterable[Selection], crops: int) -> int:
    """Return how many crops of a clip a classifier sees: all, or one if it only chooses clips."""
    return crops if any(name in selection.classifiers for selection in selections) else 1


def _wanted_clips(plan: ScoringPlan, networks: Networks, video: Video) -> dict[str, IntArray]:
    """Return the first frames of the clips that each classifier has to score, ascending."""
    by_name: dict[str, list[IntArray]] = {}
    for scheme in plan.schemes:
        for selection in plan.selections:
            for classifier in selection.classifiers:
                if not networks.can(selection, classifier):
                    continue
                starts = selection.candidates(video.record.video_id, video.num_frames, scheme)
                by_name.setdefault(classifier, []).append(starts)
                if selection.sampler in networks.classifiers:  # the method ranks clips by class scores
                    by_name.setdefault(str(selection.sampler), []).append(starts)
        if networks.samplers:
            by_name.setdefault(next(iter(networks.classifiers)), []).append(scheme.grid(video.num_frames).ravel())
    return {name: np.unique(np.concatenate(starts)) for name, starts in by_name.items()}


def _score_group(
    group: Sequence[_VideoClips], plan: ScoringPlan, networks: Networks, device: torch.device, scored: _Scored
) -> None:
    """Run all networks over the clips of some videos."""
    for name in dict.fromkeys(name for loaded in group for name in loaded.wanted):
        _score_clips(name, group, plan, networks, device, scored)
    if group:
        _score_sections(group, plan, networks, device, scored)


def _score_clips(
    name: str,
    group: Sequence[_VideoClips],
    plan: ScoringPlan,
    networks: Networks,
    device: torch.device,
    scored: _Scored,
) -> None:
    """Classify the clips of some videos with one classifier, those of all videos in the same batches."""
    crops = crops_seen(name, plan.selections, plan.crops)
    asked = [(loaded, int(start)) for loaded in group for start in loaded.wanted.get(name, ())]
    classify, size = partial(_classify, networks.classifiers[name], plan.consensus), _CLIPS_AT_ONCE // crops
    for first in range(0, len(asked), size):
        part = asked[first : first + size]
        clips = torch.stack([loaded.seen(crops)[loaded.index(start)] for loaded, start in part])
        logits = scored.watch.time(name, len(part), classify, clips.to(device))
        for (loaded, start), row in zip(part, logits, strict=True):
            if not np.isfinite(row).all():
                scored.nonfinite[loaded.video] = name
            scored.clip_rows.append((loaded.video, start, name, row))


def _classify(recognizer: Recognizer, consensus: Consensus, clips: Tensor) -> Tensor:
    """Return logits (K, J) for clips (K, C, T, H, W), or for crops of clips (K, V, C, T, H, W)."""
    logits = recognizer.classify(clips)
    return join_crops(logits, consensus=consensus) if clips.dim() == 6 else logits


def _score_sections(
    group: Sequence[_VideoClips], plan: ScoringPlan, networks: Networks, device: torch.device, scored: _Scored
) -> None:
    """Run each sampler over the sections of some videos, at each M:N."""
    if not networks.samplers:
        return
    for scheme in plan.schemes:
        grids = [scheme.grid(plan.videos[loaded.video].num_frames) for loaded in group]  # (M, N) each
        m, n = grids[0].shape
        sections = [loaded.seen(1)[loaded.index(grid)] for loaded, grid in zip(group, grids, strict=True)]
        batch = torch.stack(sections).to(device)  # (B, M, N, C, T, H, W)
        for name, sampler in networks.samplers.items():
            network = sampler_network(name)
            logits = scored.watch.time(network, batch.shape[:3].numel(), sampler.policy_logits, batch)  # (B, M, A)
            for loaded, rows in zip(group, logits, strict=True):
                if not np.isfinite(rows).all():
                    scored.nonfinite[loaded.video] = network
                scored.section_rows += [(loaded.video, (m, n, section), name, row) for section, row in enumerate(rows)]


def _gathered(scored: _Scored) -> _Scored:
    """Return what all processes have produced, ordered by video."""
    _, processes = rank_and_processes()
    parts: list[_Scored] = [scored] * processes
    if processes > 1:
        torch.distributed.all_gather_object(parts, scored)
    return _Scored(
        sorted((row for part in parts for row in part.clip_rows), key=lambda row: row[0]),  # stable within a video
        sorted((row for part in parts for row in part.section_rows), key=lambda row: row[0]),
        Stopwatch.sum(part.watch for part in parts),
        {v: error for part in parts for v, error in part.failed.items()},
        {v: name for part in parts for v, name in part.nonfinite.items()},
    )


def _columns(scored: _Scored, plan: ScoringPlan, reader: ClipReader, networks: Networks) -> ClipScores:
    """Return the clip scores of the readable videos."""
    read = [v for v in range(len(plan.videos)) if v not in scored.failed]
    position = {v: i for i, v in enumerate(read)}
    videos = [plan.videos[v] for v in read]
    spans = [(v, span) for v, video in enumerate(videos) for span in video.spans()]
    modules = networks.modules()
    return ClipScores(
        classes=np.array(list(plan.classes)),
        frames_per_clip=reader.frames_per_clip,
        frame_stride=reader.frame_stride,
        video_id=np.array([video.record.video_id for video in videos]),
        num_frames=np.array([video.num_frames for video in videos]),
        fps=np.array([video.fps for video in videos], np.float64),
        targets=np.stack([label_vector(video.record.labels, len(plan.classes)).numpy() for video in videos]),
        span_video=np.array([v for v, _ in spans], np.int64),
        span_seconds=np.array([span for _, span in spans], np.float64).reshape(-1, 2),
        network_name=np.array(list(modules)),
        network_hash=np.array([weights_hash(module) for module in modules.values()]),
        clip_video=np.array([position[row[0]] for row in scored.clip_rows], np.int64),
        clip_start=np.array([row[1] for row in scored.clip_rows], np.int64),
        clip_network=np.array([row[2] for row in scored.clip_rows]),
        clip_logits=np.stack([row[3] for row in scored.clip_rows]),
        section_video=np.array([position[row[0]] for row in scored.section_rows], np.int64),
        section_scheme=np.array([row[1] for row in scored.section_rows], np.int64).reshape(-1, 3),
        section_network=np.array([row[2] for row in scored.section_rows], str),
        section_logits=_padded([row[3][: row[1][1]] for row in scored.section_rows]),
        section_nothing=np.array([(*row[3], np.nan)[row[1][1]] for row in scored.section_rows], np.float32),
        crops=plan.crops,
        consensus=plan.consensus,
        dense_clips=plan.schemes[0].dense_clips,
        random_draws=plan.schemes[0].random_draws,
        seed=plan.schemes[0].seed,
        placement=plan.schemes[0].placement,
    )


def _padded(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return rows of different lengths as one array, padded with NaN."""
    padded = np.full((len(rows), max(map(len, rows), default=0)), np.nan, np.float32)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
