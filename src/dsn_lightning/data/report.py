"""What a data set holds: a report that depends on its files and nothing else."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsn_lightning.data.decoding import VideoError, VideoInfo
from dsn_lightning.data.records import Subset, VideoRecord

SUBSETS: tuple[Subset, ...] = ("train", "val", "test")

Records = Mapping[Subset, Sequence[VideoRecord]]
Found = Mapping[Path, VideoInfo | VideoError]
"""By path, what is there; a path that is not a key is missing."""


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
    good = {r.video_id: info for r in every if isinstance(info := found.get(r.path), VideoInfo)}
    bad = {r.video_id: error for r in every if isinstance(error := found.get(r.path), VideoError)}
    infos = list({r.path: good[r.video_id] for r in every if r.video_id in good}.values())
    leakage, repeated = leaks(records, found)
    return {
        "dataset": name,
        "totals": _counts(every, found),
        "subsets": {s: _subset_report(records[s], classes, found) for s in SUBSETS if records[s]},
        "missing": {s: sorted({r.video_id for r in records[s] if r.path not in found}) for s in SUBSETS if records[s]},
        "bad": [{"video": v, "subsets": sides[v], "reason": error.reason} for v, error in bad.items()],
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


def leaks(records: Records, found: Found) -> tuple[dict[str, list[dict[str, Any]]], list[list[str]]]:
    """Return what stands on several sides of the split, and which videos of one side are the same.

    Two videos are the same when their files hold the same stream, byte for byte, and they are the same part of it.

    Returns:
        ``{"groups": [{"group": name, "train": [...], "test": [...]}], "identical": [{"train": [...], ...}]}`` with
        video ids by subset; and lists of ids of the same content within a subset.
    """
    groups: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    contents: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for subset in SUBSETS:
        for record in records[subset]:
            info = found.get(record.path)
            if record.group is not None and info is not None:  # what is not there cannot leak
                groups[record.group][subset].add(record.video_id)
            if isinstance(info, VideoInfo) and info.digest:
                contents[info.digest, record.segment][subset].add(record.video_id)
    shared = [{"group": group, **_listed(sides)} for group, sides in sorted(groups.items()) if len(sides) > 1]
    identical = [_listed(sides) for sides in contents.values() if len(sides) > 1]
    repeated = [sorted(ids) for sides in contents.values() for ids in sides.values() if len(ids) > 1]
    return {"groups": shared, "identical": sorted(identical, key=repr)}, sorted(repeated)


def _listed(sides: Mapping[str, set[str]]) -> dict[str, list[str]]:
    return {subset: sorted(sides[subset]) for subset in SUBSETS if sides.get(subset)}


def _subset_report(records: Sequence[VideoRecord], classes: Sequence[str], found: Found) -> dict[str, Any]:
    by_class: dict[int, list[VideoRecord]] = defaultdict(list)
    for record in records:
        for label in record.labels:
            by_class[label].append(record)
    return {
        **_counts(records, found),
        "classes": {classes[label]: _counts(by_class[label], found) for label in sorted(by_class)},
    }


def _counts(records: Sequence[VideoRecord], found: Found) -> dict[str, int]:
    present = [found[r.path] for r in records if r.path in found]
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
