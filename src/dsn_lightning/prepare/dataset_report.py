"""What a data set holds: a report that depends on its files and nothing else."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.video.video_info import VideoError, VideoInfo

SUBSETS: tuple[Subset, ...] = ("train", "val", "test")

Records = Mapping[Subset, Sequence[VideoRecord]]
Found = Mapping[Path, VideoInfo | VideoError]
"""By path, what is there; a path that is not a key is missing."""
Outcomes = Mapping[str, VideoInfo | VideoError]
"""The same by video id: a segment without a frame is an error although its file can be decoded."""


def dataset_report(name: str, classes: Sequence[str], records: Records, found: Found) -> dict[str, Any]:
    """Return all that `prepare_report.json` says about a data set. Lists are sorted by video.

    Args:
        name: of the data set.
        classes: names; labels are indices into them.
        records: by subset.
        found: what decoding showed.

    Returns:
        ``dataset``; ``totals`` and ``subsets`` (counts by subset and class: ``listed, present, missing, bad,
        flagged``); ``missing`` (video ids by subset); ``bad`` (with ``reason``); ``flagged`` (FFmpeg reported errors
        although frames came out); ``header_mismatches`` (header's and decoded number of frames); ``leakage`` and
        ``repeated`` (see `leaks`); ``frames``, ``fps``, ``seconds``, ``sizes``, ``codecs`` of what can be decoded;
        ``videos`` (each one's figures). Rates are frames a second, sizes are width x height as shown.
    """
    unique = {record.video_id: record for subset in SUBSETS for record in records[subset]}
    every = [unique[video_id] for video_id in sorted(unique)]
    sides: dict[str, list[str]] = defaultdict(list)
    for subset in SUBSETS:
        for record in records[subset]:
            sides[record.video_id].append(subset)
    outcomes = {r.video_id: _outcome(r, found[r.path]) for r in every if r.path in found}
    good = {video: info for video, info in outcomes.items() if isinstance(info, VideoInfo)}
    bad = {video: error for video, error in outcomes.items() if isinstance(error, VideoError)}
    infos = list({r.path: info for r in every if isinstance(info := found.get(r.path), VideoInfo)}.values())
    leakage, repeated = leaks(records, outcomes)
    return {
        "dataset": name,
        "totals": _counts(every, outcomes),
        "subsets": {s: _subset_report(records[s], classes, outcomes) for s in SUBSETS if records[s]},
        "missing": {s: sorted({r.video_id for r in records[s] if r.path not in found}) for s in SUBSETS if records[s]},
        "bad": [
            {"video": v, "subsets": sides[v], "reason": error.reason.removeprefix(f"{v}: ")} for v, error in bad.items()
        ],
        "flagged": [{"video": v, "subsets": sides[v], "damage": list(i.damage)} for v, i in good.items() if i.damage],
        "header_mismatches": [
            {"video": v, "header": info.header_frames, "decoded": info.num_frames}
            for v, info in good.items()
            if info.header_frames is not None and info.header_frames != info.num_frames
        ],
        "leakage": leakage,
        "repeated": repeated,
        "frames": _spread([info.num_frames for info in infos]),
        "fps": _spread([info.fps for info in infos]),
        "seconds": _spread([info.duration for info in infos]),
        "sizes": _shares(f"{info.width}x{info.height}" for info in infos),
        "codecs": _shares(info.codec for info in infos),
        "videos": {
            v: {"subsets": sides[v], "classes": [classes[label] for label in unique[v].labels], **_figures(info)}
            for v, info in good.items()
        },
    }


def leaks(records: Records, outcomes: Outcomes) -> tuple[dict[str, list[dict[str, Any]]], list[list[str]]]:
    """Return what stands on several sides of the split, and which videos of one side are the same.

    Content is the same when files hold the same stream, byte for byte. On several sides, any frame that two videos
    share counts; within a side, those are the same that have all frames in common.

    Returns:
        ``{"groups": [{"group": name, "train": [...], "test": [...]}], "identical": [{"train": [...], ...}]}`` with
        video ids by subset; and lists of ids of the same content within a subset.
    """
    groups: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    parts: dict[str, dict[range, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for subset in SUBSETS:
        for record in records[subset]:
            info = outcomes.get(record.video_id)
            if record.group is not None and info is not None:  # what is not there cannot leak
                groups[record.group][subset].add(record.video_id)
            if isinstance(info, VideoInfo) and info.digest:
                parts[info.digest][_frames_of(record, info)][subset].add(record.video_id)
    shared = [{"group": group, **_listed(sides)} for group, sides in sorted(groups.items()) if len(sides) > 1]
    identical = [_listed(sides) for own in parts.values() for sides in _on_several_sides(own)]
    repeated = [sorted(v) for own in parts.values() for sides in own.values() for v in sides.values() if len(v) > 1]
    return {"groups": shared, "identical": sorted(identical, key=repr)}, sorted(repeated)


def _on_several_sides(parts: Mapping[range, Mapping[str, set[str]]]) -> Iterator[dict[str, set[str]]]:
    """Yield what different sides share of one file, ids by subset: the videos that hang together by shared frames.

    Args:
        parts: frames of the file -> subset -> ids of the videos that are these frames.
    """
    nodes = [(frames, subset) for frames, sides in parts.items() for subset in sides]
    left = set(nodes)
    for node in nodes:
        linked, waiting = [], [node] if node in left else []
        left.discard(node)
        while waiting:
            frames, subset = waiting.pop()
            linked.append((frames, subset))
            near = [n for n in left if n[1] != subset and max(n[0][0], frames[0]) <= min(n[0][-1], frames[-1])]
            left.difference_update(near)
            waiting += near
        if len(linked) > 1:
            together: dict[str, set[str]] = defaultdict(set)
            for frames, subset in linked:
                together[subset] |= parts[frames][subset]
            yield together


def _outcome(record: VideoRecord, file: VideoInfo | VideoError) -> VideoInfo | VideoError:
    """Return what a video is found to be, given what its file is."""
    try:
        if isinstance(file, VideoInfo):
            _frames_of(record, file)
    except VideoError as error:
        return error
    return file


def _frames_of(record: VideoRecord, info: VideoInfo) -> range:
    """Return which of its file's frames a video is.

    Raises:
        VideoError: its segment holds none.
    """
    if record.segment is None:
        return range(info.num_frames)
    from dsn_lightning.video.clip_reader import place_on_time_line  # PyTorch takes seconds to import

    frames = place_on_time_line(record, info, None).source
    return range(int(frames[0]), int(frames[-1]) + 1)


def _listed(sides: Mapping[str, set[str]]) -> dict[str, list[str]]:
    return {subset: sorted(sides[subset]) for subset in SUBSETS if sides.get(subset)}


def _subset_report(records: Sequence[VideoRecord], classes: Sequence[str], outcomes: Outcomes) -> dict[str, Any]:
    by_class: dict[int, list[VideoRecord]] = defaultdict(list)
    for record in records:
        for label in record.labels:
            by_class[label].append(record)
    return {
        **_counts(records, outcomes),
        "classes": {classes[label]: _counts(by_class[label], outcomes) for label in sorted(by_class)},
    }


def _counts(records: Sequence[VideoRecord], outcomes: Outcomes) -> dict[str, int]:
    present = [outcomes[r.video_id] for r in records if r.video_id in outcomes]
    return {
        "listed": len(records),
        "present": len(present),
        "missing": len(records) - len(present),
        "bad": sum(isinstance(outcome, VideoError) for outcome in present),
        "flagged": sum(isinstance(outcome, VideoInfo) and bool(outcome.damage) for outcome in present),
    }


def _figures(info: VideoInfo) -> dict[str, Any]:
    figures = {"frames": info.num_frames, "fps": round(info.fps, 3), "seconds": round(info.duration, 3)}
    return {**figures, "width": info.width, "height": info.height, "codec": info.codec}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    measures: dict[str, Callable[..., Any]] = {"min": np.min, "median": np.median, "mean": np.mean, "max": np.max}
    return {name: round(float(measure(np.asarray(values))), 3) for name, measure in measures.items()}


def _shares(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
