"""The report on a data set's videos, which depends on its files alone, and its summary in the terminal."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from dsn_lightning.datasets.records import SUBSETS, Subset, VideoRecord
from dsn_lightning.prepare.copies import TITLES, readable
from dsn_lightning.text_tables import TextTable
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo

Records = Mapping[Subset, Sequence[VideoRecord]]
Found = Mapping[Path, VideoInfo | VideoError]
"""Path -> what indexing found; a path that is not a key is missing."""
Outcomes = Mapping[str, VideoInfo | VideoError]
"""The same by video id: a segment without frames is an error although its file can be decoded."""

_MAX_LINES = 5  # of a list in the summary
_COUNTS = ("listed", "present", "missing", "bad", "flagged")


def dataset_report(name: str, classes: Sequence[str], records: Records, found: Found) -> dict[str, Any]:
    """Return the content of `prepare_report.json` for a data set. Lists are sorted by video.

    Returns:
        ``dataset``; ``totals`` and ``subsets`` (counts by subset and class: ``listed, present, missing, bad,
        flagged``); ``missing`` (video ids by subset); ``bad`` (with ``reason``); ``flagged`` (FFmpeg reported errors,
        but frames came out); ``header_mismatches`` (number of frames in the header and decoded); ``leakage`` and
        ``repeated`` (see `leaks`); ``frames``, ``fps``, ``seconds``, ``sizes``, ``codecs`` of the files that
        decode; ``videos`` (the figures of each). Rates are frames per second, sizes are displayed width x height.
    """
    unique = {record.video_id: record for subset in SUBSETS for record in records[subset]}
    listed = [unique[video_id] for video_id in sorted(unique)]
    subsets_of: dict[str, list[str]] = defaultdict(list)
    for subset in SUBSETS:
        for record in records[subset]:
            subsets_of[record.video_id].append(subset)
    outcomes = {r.video_id: _outcome(r, found[r.path]) for r in listed if r.path in found}
    good = {video: info for video, info in outcomes.items() if isinstance(info, VideoInfo)}
    bad = {video: error for video, error in outcomes.items() if isinstance(error, VideoError)}
    infos = list({r.path: info for r in listed if isinstance(info := found.get(r.path), VideoInfo)}.values())
    leakage, repeated = leaks(records, outcomes)
    return {
        "dataset": name,
        "totals": _counts(listed, outcomes),
        "subsets": {s: _subset_report(records[s], classes, outcomes) for s in SUBSETS if records[s]},
        "missing": {s: sorted({r.video_id for r in records[s] if r.path not in found}) for s in SUBSETS if records[s]},
        "bad": [
            {"video": v, "subsets": subsets_of[v], "reason": e.reason.removeprefix(f"{v}: ")} for v, e in bad.items()
        ],
        "flagged": [
            {"video": v, "subsets": subsets_of[v], "damage": list(i.flags)} for v, i in good.items() if i.flags
        ],
        "header_mismatches": [
            {"video": v, "header": i.header_frames, "decoded": i.num_frames}
            for v, i in good.items()
            if i.header_frames not in (None, i.num_frames)
        ],
        "leakage": leakage,
        "repeated": repeated,
        "frames": _spread([info.num_frames for info in infos]),
        "fps": _spread([info.fps for info in infos]),
        "seconds": _spread([info.duration for info in infos]),
        "sizes": _shares(f"{info.width}x{info.height}" for info in infos),
        "codecs": _shares(info.codec for info in infos),
        "videos": {
            v: {"subsets": subsets_of[v], "classes": [classes[label] for label in unique[v].labels], **_figures(info)}
            for v, info in good.items()
        },
    }


def leaks(records: Records, outcomes: Outcomes) -> tuple[dict[str, list[dict[str, Any]]], list[list[str]]]:
    """Return what is in several subsets at once, and which videos of one subset are the same.

    Files are the same if their video streams are equal, byte for byte. Across subsets, any frame that two videos share
    counts; within a subset, videos are the same if they have all frames in common.

    Returns:
        ``{"groups": [{"group": name, "train": [...], "test": [...]}], "identical": [{"train": [...], ...}]}`` with
        video ids by subset; and lists of ids of the same content within a subset.
    """
    groups: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    parts: dict[str, dict[range, dict[str, set[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    for subset in SUBSETS:
        for record in records[subset]:
            info = outcomes.get(record.video_id)
            if record.group is not None and info is not None:  # a missing video cannot leak
                groups[record.group][subset].add(record.video_id)
            if isinstance(info, VideoInfo) and info.digest:
                parts[info.digest][_frames_of(record, info)][subset].add(record.video_id)
    shared = [{"group": group, **_sorted_ids(ids)} for group, ids in sorted(groups.items()) if len(ids) > 1]
    identical = [_sorted_ids(ids) for part in parts.values() for ids in _shared_between_subsets(part)]
    repeated = [sorted(v) for part in parts.values() for ids in part.values() for v in ids.values() if len(v) > 1]
    return {"groups": shared, "identical": sorted(identical, key=repr)}, sorted(repeated)


def _shared_between_subsets(parts: Mapping[range, Mapping[str, set[str]]]) -> Iterator[dict[str, set[str]]]:
    """Yield the videos of different subsets that are connected by shared frames of one file, as ids by subset.

    ``parts`` has, by range of the file's frames and by subset, the ids of the videos that consist of these frames.
    """
    nodes = [(frames, subset) for frames, ids in parts.items() for subset in ids]
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
    """Return what was found for a video, given what was found for its file."""
    try:
        if isinstance(file, VideoInfo):
            _frames_of(record, file)
    except VideoError as error:
        return error
    return file


def _frames_of(record: VideoRecord, info: VideoInfo) -> range:
    """Return the frames of its file that a video consists of; it is a `VideoError` if there are none."""
    if record.segment is None:
        return range(info.num_frames)
    frames = place_on_time_line(record, info, None).source
    return range(int(frames[0]), int(frames[-1]) + 1)


def _sorted_ids(ids: Mapping[str, set[str]]) -> dict[str, list[str]]:
    return {subset: sorted(ids[subset]) for subset in SUBSETS if ids.get(subset)}


def _subset_report(records: Sequence[VideoRecord], classes: Sequence[str], outcomes: Outcomes) -> dict[str, Any]:
    by_class: dict[int, list[VideoRecord]] = defaultdict(list)
    for record in records:
        for label in record.labels:
            by_class[label].append(record)
    counts = {classes[label]: _counts(by_class[label], outcomes) for label in sorted(by_class)}
    return {**_counts(records, outcomes), "classes": counts}


def _counts(records: Sequence[VideoRecord], outcomes: Outcomes) -> dict[str, int]:
    present = [outcomes[r.video_id] for r in records if r.video_id in outcomes]
    return {
        "listed": len(records),
        "present": len(present),
        "missing": len(records) - len(present),
        "bad": sum(isinstance(outcome, VideoError) for outcome in present),
        "flagged": sum(isinstance(outcome, VideoInfo) and bool(outcome.flags) for outcome in present),
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


def print_summary(report: dict[str, Any], console: Console) -> None:
    """Print the findings of `dataset_report` and `make_copies`; long lists are shortened."""
    rows = [
        [name, *(str(counts[column]) for column in _COUNTS)]
        for name, counts in (*report["subsets"].items(), ("all", report["totals"]))
    ]
    TextTable(["subset", *_COUNTS], rows, title=f"{report['dataset']}: videos").print(console)
    if report["frames"] is not None:
        names = {"frames": "frames", "seconds": "seconds", "fps": "frames/s"}
        console.print(", ".join(_range(name, report[key]) for key, name in names.items()), highlight=False)
    leakage = report["leakage"]
    lists = {
        "bad": [f"{v['video']}: {v['reason']}" for v in report["bad"]],
        "flagged (FFmpeg reported errors, but frames came out)": [
            f"{v['video']}: {'; '.join(v['damage'])}" for v in report["flagged"]
        ],
        "numbers of frames in the header and decoded differ": [
            f"{v['video']}: {v['header']}, {v['decoded']}" for v in report["header_mismatches"]
        ],
        "groups in several subsets": [_ids_by_subset(v) for v in leakage["groups"]],
        "same content in several subsets": [_ids_by_subset(v) for v in leakage["identical"]],
        "same content within a subset": [" = ".join(ids) for ids in report["repeated"]],
    }
    for title, lines in lists.items():
        _print_list(console, title, lines)
    for kind, title in TITLES.items():
        if kind in report:
            copies = report[kind]
            places = f", {copies['shards']} shard{'' if copies['shards'] == 1 else 's'}" if copies["shards"] else ""
            console.print(f"{title}: {copies['copies']} videos, {readable(copies['bytes'])}{places}", highlight=False)
            _print_list(console, f"{title} that failed", [f"{v['video']}: {v['reason']}" for v in copies["failed"]])


def _range(name: str, spread: dict[str, float]) -> str:
    low, high = spread["min"], spread["max"]
    return f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g} (median {spread['median']:g})"


def _ids_by_subset(leak: dict[str, Any]) -> str:
    parts = [
        f"{subset} {ids[0]}{f' and {len(ids) - 1} more' if len(ids) > 1 else ''}"
        for subset, ids in leak.items()
        if subset != "group"
    ]
    return (f"{leak['group']}: " if "group" in leak else "") + ", ".join(parts)


def _print_list(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"{title}: {len(lines)}", highlight=False, style="bold")
        for line in lines[:_MAX_LINES]:
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
        if len(lines) > _MAX_LINES:
            console.print(f"  ... and {len(lines) - _MAX_LINES} more", highlight=False)
