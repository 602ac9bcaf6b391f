"""Every parser of foreign files on mutated valid inputs: the value, or one line of our own error.

`DSN_FUZZ_INPUTS` is the number of inputs over all parsers (default: 200). The valid inputs are made here; a failing
input is printed, and hypothesis keeps it for the next call.
"""

import io
import json
import os
import re
import signal
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from dsn_lightning.datasets import SUBSETS, ActivityNet, Folder, Hmdb51, Kinetics, Needle, Thumos14, Ucf101
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.predictions import predictions_csv
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.stored import read_evaluation
from dsn_lightning.prepare.video_index import index_videos
from dsn_lightning.report.collect import collect
from dsn_lightning.report.page import make_report, to_html, to_text
from dsn_lightning.report.page_tables import to_csv
from dsn_lightning.report.result_rows import results_of
from dsn_lightning.runs import SweepFolder, read_configs, read_histories, read_results
from dsn_lightning.runs.sweep_folder import SweepJob, SweepRecord
from dsn_lightning.selections import Uniform
from dsn_lightning.text_tables import csv_records, csv_text
from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack
from helpers import fuzzed_answers, fuzzed_models, fuzzed_searches
from helpers.dataset_files import (
    write_activitynet,
    write_hmdb51,
    write_kinetics,
    write_thumos14,
    write_ucf101,
)
from helpers.fuzzed_parser import Parser
from helpers.report_files import row_of, write_basis, write_rows, write_run

NUM_INPUTS = int(os.environ.get("DSN_FUZZ_INPUTS", 200))
SECONDS = 60
"""Within which a parser comes to its end on every input."""

PIECES = (
    *("NaN", "-Infinity", "1e308", "-1", "99999999999999999999", "null", "true", "999999", "0.5", "format"),
    *('"', "'", "[" * 70, "{" * 3, "]", "}", ",", ";", ":", "\n", "\r", "\t", "", " ", "é"),
    *("\0", "\ud800", "\udcff", "\\ud800", "\x1b[31m", "\ufffe", "..", "/", "../../x", "/dev/zero"),
    *("=1+1", "${M}${M}", "&a", "*a", "!!int", "~nobody", "$\\foo$", "$"),
)


def write_training(root: Path) -> None:
    """A sweep of two jobs, one with ``config.json``, one with Hydra's files."""
    for i in range(2):
        write_basis(
            write_rows(write_run(root / str(i), seed=i), row_of(seed=i), row_of(selection="dense", seed=i)), classes=51
        )
    hydra = root / "1" / ".hydra"
    hydra.mkdir()
    (root / "1" / "config.json").unlink()
    (hydra / "config.yaml").write_text("M: 2\nN: ${M}\ngamma: 0.5\nseed: 1\ndataset:\n  all: [1, '${gamma}']\n")
    (hydra / "overrides.yaml").write_text("- M=2\n- schedule.lr=1e-1\n")
    (root / "0" / "log.txt").write_text("Traceback (most recent call last)\nValueError: x\n")
    (root / "0" / "progress.json").write_text('{"epoch": 1, "max_epochs": 2, "best_value": 0.5}')
    jobs = [SweepJob((f"seed={i}",), str(i), "done", 0) for i in range(2)]
    SweepFolder(root).write(SweepRecord(jobs))
    (root / "differences").mkdir()
    (root / "differences" / "table.json").write_text(json.dumps(STATISTICS))


ESTIMATE = {"value": 0.1, "low": 0.0, "high": 0.2, "seeds": [0.1], "spread": None}
METHOD = {"selection": "dsn", "classifier": "dsn", "M": 1, "N": 3}
STATISTICS = {
    "about": {"dataset": "hmdb51", "split": 1, "modality": "rgb", "videos": 9, "seeds": [0], "evaluations": ["0"]}
    | {"resamples": 100, "level": 0.95, "seed": 0, "resampled": "videos", "left_out": []},
    "warnings": [],
    "at_chance": {},
    "methods": [{**METHOD, "clips": 1, "kind": "learned", "sampler": "dsn", "top1": ESTIMATE}],
    "differences": [
        {"method": METHOD, "other": METHOD | {"selection": "uniform"}, "same_classifier": True, "top1": ESTIMATE}
        | {"mean_class": ESTIMATE, "map": None, "hit_rate": None, "mcnemar": [0.5]}
    ],
    "gap_share": [],
    "headroom": [],
    "classes": [],
    "confusion": {"method": METHOD, "classes": ["a", "b"], "counts": [[1, 2], [0, 3]], "shares": [[0.3, 0.7], [0, 1]]},
}


def report_on(root: Path) -> None:
    """Read a folder with everything that reads it for tables and pages."""
    for read in (read_configs, read_histories, read_results):
        read(root)
    found = collect([str(root)])
    results_of(found)
    contents = b"".join(
        file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file() and file.name != ".lock"
    )
    if zlib.crc32(contents) % 8:  # pages take a second
        return
    report = make_report(found, lambda folders: STATISTICS, announce=lambda text: None)
    for text in (to_html(report), to_text(report), to_csv(report.results)):
        text.encode("utf-8", "surrogateescape")


def write_scores(root: Path) -> None:
    """An evaluation of two videos, two clips each."""
    root.mkdir(exist_ok=True)
    videos = np.arange(2)
    scores = ClipScores(
        classes=np.array(["a", "b"]),
        frames_per_clip=8,
        frame_stride=1,
        video_id=np.array(["v0", "-v1"]),
        num_frames=np.array([40, 60]),
        fps=np.array([25.0, 25.0]),
        targets=np.eye(2, dtype=np.float32),
        span_video=videos,
        span_seconds=np.array([[0.0, 1.0], [0.5, 2.0]]),
        network_name=np.array(["baseline"]),
        network_hash=np.array(["0" * 16]),
        clip_video=videos,
        clip_start=np.array([16, 26]),
        clip_network=np.array(["baseline"] * 2),
        clip_logits=np.array([[1, 0], [0, 1]], np.float32),
        section_video=videos,
        section_scheme=np.array([[1, 1, 0]] * 2),
        section_network=np.array(["dsn sampler"] * 2),
        section_logits=np.zeros((2, 1), np.float32),
        section_nothing=np.full(2, np.nan, np.float32),
    )
    scores.save(root / "clip_scores.npz")
    write_rows(root, row_of(selection="uniform", classifier="baseline", M=1, N=1, clips=1))


def read_scores(root: Path) -> None:
    evaluation = read_evaluation(root, [Uniform()])
    assert all(np.isfinite(outcome.probabilities).all() for outcome in evaluation.outcomes.values())
    assert list(evaluation.video_id) == ["v0", "-v1"]  # the archive has sums: a changed value is never read
    assert {record["video"] for record in csv_records(predictions_csv(evaluation))} <= {"v0", "-v1"}


def records_of(build: Callable[[str], object]) -> Callable[[Path], None]:
    """Return what builds a data set and checks its records."""

    def read(root: Path) -> None:
        source = build(str(root))
        for subset in SUBSETS:
            for record in source.records(subset):
                assert Path(os.path.normpath(record.path)).is_relative_to(root)
                assert all(0 <= label < len(source.classes) for label in record.labels)
                assert all(0 <= a < b < 1e9 for a, b in record.spans or ())

    return read


def write_thumos_json(root: Path) -> None:
    entry = {"annotations": [{"label": "Archery", "segment": [1, 2]}]}
    content = {"database": {"a": entry | {"subset": "Validation"}, "b": entry | {"subset": "Test"}}}
    root.mkdir(exist_ok=True)
    (root / "thumos14.json").write_text(json.dumps(content))


def write_thumos_tables(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for name in ("val", "test"):
        (root / f"{name}_Annotation.csv").write_text(f"video,type,start,end\n{name}_1,Archery,1.5,2.5\n")


def write_lists(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for name in ("a.mp4", "train.mp4", "test.mp4"):
        (root / name).touch()
    for name in ("train", "test"):
        (root / f"{name}.csv").write_text(f"path,label,start,end,group\na.mp4,x,{len(name)},9,g\n{name}.mp4,y;x,,,\n")
        (root / f"{name}.txt").write_text(f"{name}.mp4 x\n{name} b.mp4 y\n")
    (root / "classes.txt").write_text("x\ny\n")


def folder(extension: str, **more: str) -> Callable[[str], Folder]:
    def build(root: str) -> Folder:
        lists = {f"{subset}_list": f"{root}/{subset}.{extension}" for subset in ("train", "test")}
        if extension == "txt":
            lists["classes"] = f"{root}/classes.txt"
        return Folder(root, **lists)

    return build


def write_needle(root: Path) -> None:
    place = Needle(str(root)).root
    place.mkdir(parents=True)
    rows = [{"video_id": f"{s}_0", "subset": s, "label": 1, "glimpsed": 2, "spans": [[0, 20]]} for s in SUBSETS]
    (root / "videos.json").write_text(json.dumps(rows))
    (place / "videos.json").symlink_to(root / "videos.json")


class KnownVideo:
    """Probes the files of the index."""

    def fingerprint(self, path: Path) -> list[object]:
        return ["video", 1]

    def probe(self, path: Path) -> VideoInfo:
        return VideoInfo(3, 25.0, 8, 8, digest="d", stamps=pack([0, 1, 2]), key_frames=pack([0]))


def write_index(root: Path) -> None:
    (root / "videos").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        (root / "videos" / name).touch()
    read_index(root)
    content = json.loads((root / "index.json").read_text())
    journal = [json.dumps([content["format"], key, entry]) + "\n" for key, entry in content["videos"].items()]
    (root / ".index.journal").write_text("".join(journal))


def read_index(root: Path) -> None:
    paths = [root / "videos" / name for name in ("a.mp4", "b.mp4")]
    found = index_videos(paths, root, root=root / "videos", decoder=KnownVideo(), num_threads=1, show=False)
    for info in found.values():
        assert isinstance(info, VideoError) or (len(info.times) == info.num_frames and info.duration > 0)


def write_images(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for number in (1, 2):
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(root / f"img_{number:05d}.png")


def read_images(root: Path) -> None:
    decoder = ImageFolder("img_*.png")
    info = decoder.probe(root)
    assert decoder.read(root, range(info.num_frames), (8, 8), info).shape == (info.num_frames, 8, 8, 3)


def name_images(root: Path) -> None:
    """Take the lines of a file as the names of images."""
    names = (root / "names").read_bytes().split(b"\n")
    for path in root.glob("img*"):
        path.unlink()
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    for name in names:
        if name and b"/" not in name and b"\0" not in name and name not in (b".", b"..", b"names"):
            (root / os.fsdecode(name[:200])).write_bytes(content.getvalue())
    decoder = ImageFolder("img*")
    decoder.fingerprint(root)
    info = decoder.probe(root)
    assert info.num_frames == sum(bool(re.search(r"\d", path.name)) for path in root.glob("img*"))


def write_names(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "names").write_text("img_1.png\nimg_2.png\nimg_3.png\n")


def write_table(root: Path) -> None:
    root.mkdir(exist_ok=True)
    records = [{"video": "-a", "n": -1.5, "text": "=1\r\n2"}, {"video": "'", "n": None}]
    (root / "table.csv").write_text(csv_text(records))


def read_table(root: Path) -> None:
    text = (root / "table.csv").read_bytes().decode("utf-8", "surrogateescape")
    records = [record for record in csv_records(text) if record]
    assert list(csv_records(csv_text(records))) == [{**dict.fromkeys(columns_of(records), ""), **r} for r in records]


def columns_of(records: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


RUN_FILES = (
    *("sweep.json", "0/status.json", "0/config.json", "0/metrics.csv", "0/results.json", "0/environment.json"),
    *("0/log.txt", "0/progress.json", "1/.hydra/config.yaml", "1/.hydra/overrides.yaml", "differences/table.json"),
)
PARSERS = {
    **{f"run {file}": Parser(file, write_training, report_on, 1) for file in RUN_FILES},
    "scores": Parser("clip_scores.npz", write_scores, read_scores),
    "results of scores": Parser("results.json", write_scores, read_scores, 2),
    "ucf101 classes": Parser("ucfTrainTestlist/classInd.txt", write_ucf101, records_of(Ucf101)),
    "ucf101 list": Parser("ucfTrainTestlist/trainlist01.txt", write_ucf101, records_of(Ucf101)),
    "hmdb51": Parser("splits/catch_test_split1.txt", write_hmdb51, records_of(Hmdb51), 2),
    "kinetics": Parser("train.csv", write_kinetics, records_of(Kinetics)),
    "activitynet": Parser("activity_net.v1-3.min.json", write_activitynet, records_of(ActivityNet)),
    "thumos14 json": Parser("thumos14.json", write_thumos_json, records_of(Thumos14)),
    "thumos14 csv": Parser("val_Annotation.csv", write_thumos_tables, records_of(Thumos14)),
    "thumos14 mat": Parser("validation_set_meta/validation_set.mat", write_thumos14, records_of(Thumos14), 1),
    "list csv": Parser("train.csv", write_lists, records_of(folder("csv"))),
    "list text": Parser("train.txt", write_lists, records_of(folder("txt"))),
    "needle": Parser("videos.json", write_needle, records_of(lambda root: Needle(root))),
    "index": Parser("index.json", write_index, read_index),
    "journal": Parser(".index.journal", write_index, read_index),
    "image": Parser("img_00001.png", write_images, read_images),
    "image names": Parser("names", write_names, name_images),
    "csv": Parser("table.csv", write_table, read_table),
    **fuzzed_searches.PARSERS,
    **fuzzed_models.PARSERS,
    **fuzzed_answers.PARSERS,
}
TOTAL = sum(parser.share for parser in PARSERS.values())


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, object]]:
    """Draw up to four changes: their kind, where they are (a share of the content) and what they need."""
    changes: list[tuple[str, float, object]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("byte", "piece", "replace", "cut", "copy", "drop")))
        place = draw(st.floats(0, 1))
        if kind == "byte":
            more: object = draw(st.integers(0, 255))
        elif kind in ("piece", "replace"):
            more = draw(st.sampled_from(PIECES))
        else:
            more = draw(st.integers(1, 40))
        changes.append((kind, place, more))
    return changes


def mutated(content: bytes, changes: list[tuple[str, float, object]]) -> bytes:
    """Return the content with the changes."""
    for kind, place, more in changes:
        at = int(place * len(content))
        if kind == "byte":
            content = content[:at] + bytes([int(str(more))]) + content[at + 1 :]
        elif kind in ("piece", "replace"):
            piece = str(more).encode("utf-8", "surrogatepass")
            content = content[:at] + piece + content[at + (len(piece) if kind == "replace" else 0) :]
        elif kind == "cut":
            content = content[:at]
        else:
            part = content[at : at + int(str(more))]
            content = content[:at] + (part * 3 if kind == "copy" else b"") + content[at + len(part) :]
    return content


@pytest.fixture
def alarm() -> Iterator[None]:
    """Let an alarm raise an error where the parser is."""

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError(f"took longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("alarm")
def test_a_mutated_file_gives_its_value_or_one_line(tmp_path_factory, name):
    parser = PARSERS[name]
    root = tmp_path_factory.mktemp("fuzz") / "root"
    parser.write(root)
    file = root / parser.file
    valid = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}

    @settings(
        max_examples=max(1, round(NUM_INPUTS * parser.share / TOTAL)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        derandomize=NUM_INPUTS <= 200,
        print_blob=True,
    )
    @given(mutations())
    def run(changes):
        for path, content in valid.items():
            path.parent.mkdir(parents=True, exist_ok=True)  # some readers remove what they have read
            path.write_bytes(mutated(content, changes) if path == file else content)
        signal.alarm(SECONDS)
        try:
            parser.read(root)
        except UsageError as error:
            message = str(error)
            assert "\n" not in message
            message.encode()
        finally:
            signal.alarm(0)

    with parser.around():
        parser.read(root)  # the valid input is accepted
        run()


def test_no_changed_byte_of_an_archive_changes_a_score(tmp_path):
    """An archive holds the sums of its arrays: each byte is either of no importance, or its change is refused."""
    write_scores(tmp_path)
    file = tmp_path / "clip_scores.npz"
    content, expected = file.read_bytes(), ClipScores.load(file)
    assert zipfile.is_zipfile(file)
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=max(20, NUM_INPUTS // 10)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        try:
            found = ClipScores.load(file)
        except UsageError:
            continue
        for column in (
            "clip_logits",
            "clip_video",
            "targets",
            "video_id",
            "section_logits",
            "section_nothing",
            "fps",
            "clip_start",
        ):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), f"{position} {column}")
