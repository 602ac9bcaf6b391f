"""dsn-prepare: check a data set, make small copies of its videos, extract optical flow."""

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from dsn_lightning.commands.copying import make_copies
from dsn_lightning.commands.source import build_source
from dsn_lightning.commands.summary import print_summary
from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import remove_partial, replacing
from dsn_lightning.prepare.copy_kinds import Flow, Kind, Small
from dsn_lightning.prepare.dataset_report import SUBSETS, Records, dataset_report
from dsn_lightning.prepare.optical_flow import check_opencv
from dsn_lightning.prepare.video_index import index_videos, prepared_folder
from dsn_lightning.prepare.worker_pool import DiskFullError, disk_is_full
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.video_info import VideoInfo

REPORT = "prepare_report.json"
STEPS = ("check", "transcode", "flow")


def prepare(cfg: DictConfig) -> None:
    """Do ``cfg.steps`` and write ``prepare_report.json`` and ``index.json`` to the output folder.

    Raises:
        UsageError: a key is wrong, the output could overwrite a video, or the disk is full.
        SystemExit: 1 where ``cfg.strict`` finds something.
    """
    kinds = check_settings(cfg)
    source = build_source(cfg.dataset)
    source.prepare()
    records: Records = {subset: source.records(subset) for subset in SUBSETS}
    given = cfg.output or cfg.dataset.reading.prepared  # which training reads from
    output = Path(given).expanduser().absolute() if given else prepared_folder(source)
    refuse_overwriting(output, source, records)
    jobs = cfg.jobs or cores()
    with _room_for(output), _only_one_in(output):
        report = _prepare(cfg, source, records, kinds, output, jobs)
    console = Console(width=max(Console().width, 100))
    print_summary(report, console)
    console.print(f"written: {output / REPORT}", soft_wrap=True)
    if cfg.strict and (found := complaints(report)):
        print(f"dsn-prepare: strict=true: {', '.join(found)}", file=sys.stderr)
        sys.exit(1)


def _prepare(
    cfg: DictConfig, source: VideoSource, records: Records, kinds: Sequence[Kind], output: Path, jobs: int
) -> dict[str, Any]:
    for folder in (output / kind.folder for kind in (Small(), Flow())):
        remove_partial(folder)
    decoder: Decoder = instantiate(cfg.dataset.reading.decoder)
    listed = {record.path: None for subset in SUBSETS for record in records[subset]}
    present = [path for path in listed if path.exists() or decoder.find(path).exists()]
    found = index_videos(present, output, root=source.root, decoder=decoder, num_threads=jobs)
    report = dataset_report(source.name, source.classes, records, found)
    _write(output / REPORT, report)
    good = [(path, info) for path, info in found.items() if isinstance(info, VideoInfo)]
    settings = cfg.dataset.reading.decoder
    # these can be decoded, and flow takes its time between frames
    patient = instantiate(settings, **({"deadline": math.inf} if "deadline" in settings else {}))
    for kind in kinds:
        report[kind.folder] = make_copies(good, source.root, output, decoder=patient, kind=kind, jobs=jobs)
    if kinds:
        _write(output / REPORT, report)
    return report


def check_settings(cfg: DictConfig) -> list[Kind]:
    """Return the kinds of copies that ``cfg`` asks for, in their order.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    steps = list(cfg.steps) if OmegaConf.is_list(cfg.steps) else [cfg.steps]
    wrong = [step for step in steps if step not in STEPS]
    if wrong or not steps:
        raise UsageError(f"steps={cfg.steps}: must be a list out of {', '.join(STEPS)}")

    if not isinstance(cfg.strict, bool):
        raise UsageError(f"strict={cfg.strict}: must be true or false")

    def whole(key: str, least: int, most: float = math.inf) -> None:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            upper = "" if math.isinf(most) else f" and at most {most}"
            raise UsageError(f"{key}={value}: must be a whole number of at least {least}{upper}")

    if cfg.jobs is not None:
        whole("jobs", 1)
    whole("transcode.short_side", 16)
    whole("transcode.keyint", 1)
    whole("transcode.crf", 0, 51)
    value = cfg.flow.bound
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(f"flow.bound={value}: must be a number above 0")
    size = list(cfg.flow.size) if OmegaConf.is_list(cfg.flow.size) else []
    if len(size) != 2 or not all(isinstance(side, int) and side >= 16 for side in size):
        raise UsageError(f"flow.size={cfg.flow.size}: must be [height, width], both at least 16 pixels")
    kinds: list[Kind] = []
    if "transcode" in steps:
        kinds.append(Small(cfg.transcode.short_side, cfg.transcode.keyint, cfg.transcode.crf))
    if "flow" in steps:
        check_opencv()
        kinds.append(Flow((size[0], size[1]), float(cfg.flow.bound)))
    return kinds


def refuse_overwriting(output: Path, source: VideoSource, records: Records) -> None:
    """Refuse an output folder where copies and videos would come to lie among each other.

    The folder that all videos have in common is forbidden as a whole, unless it holds the home folder: videos on two
    disks have only ``/`` in common.

    Raises:
        UsageError: the output is the data set's root, or is or lies below the folder of a video or the one that all
            videos have in common, or videos lie where copies go.
    """
    folders = {record.path.parent for subset in SUBSETS for record in records[subset]}
    if not folders:
        raise UsageError(f"dataset={source.name}: lists no video")
    place, root = output.resolve(), source.root.resolve()
    if place == root:
        raise UsageError(f"output={output}: lies among the videos ({root}); give a folder of its own")
    common, home = Path(os.path.commonpath(folders)).resolve(), Path(os.path.expanduser("~")).resolve()
    resolved = sorted({folder.resolve() for folder in folders})
    shared = home.is_relative_to(common) or common == Path(common.anchor)
    for folder in resolved if shared else [*resolved, common]:
        if place.is_relative_to(folder):
            raise UsageError(f"output={output}: lies among the videos ({folder}); give a folder of its own")
    for kind in (Small, Flow):
        for folder in resolved:
            if folder.is_relative_to(place / kind.folder):
                raise UsageError(f"output={output}: videos ({folder}) lie where copies would go; give another folder")


def complaints(report: dict[str, Any]) -> list[str]:
    """Return what a strict check does not let pass, in words."""
    leakage = report["leakage"]
    counts = {
        "missing": report["totals"]["missing"],
        "bad": report["totals"]["bad"],
        "without a copy": sum(len(report[k.folder]["failed"]) for k in (Small, Flow) if k.folder in report),
        "groups on several sides of the split": len(leakage["groups"]),
        "contents on several sides of the split": len(leakage["identical"]),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _room_for(output: Path) -> Iterator[None]:
    """Say in one line what to do when ``output`` cannot be written."""
    try:
        yield
    except DiskFullError as error:
        raise UsageError(f"output={output}: {_FULL.format(error)}") from error
    except OSError as error:
        if not disk_is_full(error):
            raise UsageError(f"output={output}: cannot be written ({error.strerror or error})") from error
        raise UsageError(f"output={output}: {_FULL.format(error.strerror)}") from error


_FULL = "the disk is full ({}); what is finished stays: make room and call again, or give output= on another disk"


@contextmanager
def _only_one_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".prepare.lock")
    try:
        lock.acquire(timeout=3)  # one that was just killed may take a moment to end
    except Timeout:
        raise UsageError(f"output={folder}: another dsn-prepare is working in this folder") from None
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, report: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write((json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
