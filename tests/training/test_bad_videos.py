"""Videos that are missing, damaged or vanish: what is reported, what is refused, what continues."""

import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from conftest import grey_ramp, write_video
from dsn_lightning.data.datamodule import BatchLoading, ClipScheme, SectionClipDataModule
from dsn_lightning.data.inventory import BadVideoPolicy, Reading, SubsetInventory
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.clip_loading import Loading
from dsn_lightning.evaluation.scoring import Networks, ScoringPlan, score_videos
from dsn_lightning.prepare.video_index import INDEX, index_videos, usable
from dsn_lightning.selections import Scheme, Uniform
from dsn_lightning.training.callbacks import BadVideos
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack
from helpers.processes import call


class Listed:
    """A data set of 12 training, 3 validation and 5 test videos of two classes."""

    name = "listed"
    classes = ("rise", "stay")
    split = {"train": range(12), "val": range(12, 15), "test": range(15, 20)}  # noqa: RUF012

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """The files exist."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        return [VideoRecord(f"v{i:02}", self.root / f"{i:02}.mp4", (i % 2,)) for i in self.split[subset]]


@pytest.fixture(scope="module")
def listed_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos, to be copied."""
    root = tmp_path_factory.mktemp("listed")
    for i in range(20):
        write_video(root / f"{i:02}.mp4", grey_ramp(12 + i))
    return root


@pytest.fixture
def listed(listed_files: Path, tmp_path: Path) -> Listed:
    shutil.copytree(listed_files, tmp_path / "videos")
    return Listed(tmp_path / "videos")


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def data_of(source: Listed, tmp_path: Path, **changes) -> SectionClipDataModule:
    loading = {key: changes.pop(key) for key in ("num_workers", "start_workers") if key in changes}
    reading = {key: changes.pop(key) for key in ("modality",) if key in changes}
    data = SectionClipDataModule(
        source,
        crop=Crop((34, 34), 32),
        scheme=ClipScheme(2, 2, 2, 2, frames_per_clip=4),
        loading=BatchLoading(batch_size=5, **loading),
        reading=Reading(PyAV(), **reading),
        bad_videos=BadVideoPolicy(**{"on_bad_video": "skip", **changes}),
        prepared=tmp_path / "prepared",
    )
    data.setup()
    return data


def test_missing_files_are_counted_by_subset_and_class(listed, tmp_path):
    for i in (0, 2, 3, 16):
        (listed.root / f"{i:02}.mp4").unlink()
    data = data_of(listed, tmp_path)
    inventory = data.inventory()
    digests = {subset: part.pop("digest") for subset, part in inventory.items()}
    assert len({*digests.values()}) == 3
    rest = {"failed": {}, "shorter_than_a_clip": 0}
    assert inventory["train"] == {"listed": 12, "present": 9, "missing": {"rise": 2, "stay": 1}, **rest}
    assert inventory["test"] == {"listed": 5, "present": 4, "missing": {"rise": 1}, **rest}
    assert len(data.videos("train")) == 9
    data_of(listed, tmp_path, max_missing=0.25)
    with pytest.raises(UsageError, match=r"3 of 12 train videos are missing, more than .*max_missing=0.2"):
        data_of(listed, tmp_path, max_missing=0.2)


def test_the_digest_of_a_subset_is_that_of_its_ids_classes_segments_and_frames():
    info = VideoInfo(5, 25.0, 32, 32, stamps=pack(np.arange(5)), time_base=(1, 25))

    def digest(*records: VideoRecord, info: VideoInfo = info, classes: tuple[str, ...] = ("rise", "stay")) -> str:
        videos = [place_on_time_line(record, info, None) for record in records]
        return SubsetInventory(videos).summary(classes, clip_span=4)["digest"]

    one, two = VideoRecord("a", Path("/x/a.mp4"), (0,)), VideoRecord("b", Path("/x/b.mp4"), (1, 0))
    known = digest(one, two)
    assert digest(two, one) == digest(replace(one, path=Path("/y/a.mp4")), replace(two, labels=(0, 1))) == known
    assert digest(replace(one, labels=(1,)), replace(two, labels=(1, 0)), classes=("stay", "rise")) == known
    others = [
        digest(one),
        digest(one, replace(two, video_id="c")),
        digest(one, replace(two, labels=(1,))),
        digest(one, replace(two, segment=(0.0, 0.1))),
        digest(one, two, info=replace(info, num_frames=6, stamps=pack(np.arange(6)))),
        digest(one, two, classes=("fall", "stay")),
    ]
    assert len({known, *others}) == 7


def test_testing_needs_the_test_videos_alone(listed, tmp_path):
    for i in listed.split["train"]:
        (listed.root / f"{i:02}.mp4").unlink()
    data = SectionClipDataModule(
        listed,
        crop=Crop((34, 34), 32),
        scheme=ClipScheme(1, 1, 1, 1, frames_per_clip=16),
        loading=BatchLoading(batch_size=5),
        bad_videos=BadVideoPolicy(max_bad=0),
        prepared=tmp_path / "prepared",
    )
    data.setup("test")
    assert len(data.videos("test")) == 5
    assert list(data.inventory()) == ["test"]
    assert data.inventory()["test"]["shorter_than_a_clip"] == 0
    assert len(json.loads((tmp_path / "prepared" / INDEX).read_text())["videos"]) == 5
    with pytest.raises(UsageError, match="all 12 train videos are missing"):
        data.setup("fit")


def test_a_run_resumed_with_other_videos_warns(listed, tmp_path):
    state = data_of(listed, tmp_path).state_dict()
    data_of(listed, tmp_path).load_state_dict(state)  # a warning would be an error
    (listed.root / "03.mp4").unlink()
    with pytest.warns(UserWarning, match="the usable training videos have changed"):
        data_of(listed, tmp_path).load_state_dict(state)


def test_a_subset_without_any_file_is_refused(listed, tmp_path):
    for i in listed.split["test"]:
        (listed.root / f"{i:02}.mp4").unlink()
    with pytest.raises(UsageError, match="all 5 test videos are missing"):
        data_of(listed, tmp_path)


def test_bad_files_are_left_out_or_end_the_run(listed, tmp_path):
    spoil(listed.root / "04.mp4")
    spoil(listed.root / "17.mp4")
    data = data_of(listed, tmp_path, max_bad=0.1)
    assert list(data.inventory()["train"]["failed"]) == ["v04"]
    assert "04.mp4: cannot be decoded" in data.inventory()["train"]["failed"]["v04"]
    assert list(data.bad["test"]) == ["v17"]
    with pytest.raises(VideoError, match=r"04\.mp4"):
        data_of(listed, tmp_path, on_bad_video="raise")
    with pytest.raises(UsageError, match=r"1 of 12 training videos cannot be used, more than .*max_bad=0.05"):
        data_of(listed, tmp_path, max_bad=0.05)


def batches(data: SectionClipDataModule) -> list[dict]:
    return list(data.train_dataloader())


@pytest.mark.parametrize(
    "workers",
    [(0, None), (2, "fork"), pytest.param((2, "spawn"), marks=pytest.mark.slow)],  # each imports everything
    ids=["alone", "fork", "spawn"],
)
def test_vanished_videos_are_replaced_alike_by_all_workers(listed, tmp_path, workers):
    num, method = workers
    whole = batches(data_of(listed, tmp_path))
    data = data_of(listed, tmp_path, num_workers=num, start_workers=method)
    (listed.root / "05.mp4").unlink()
    spoil(listed.root / "06.mp4")
    again = batches(data)
    assert {v for b in again for v, _ in b["bad_videos"]} == {"v05", "v06"}
    assert [b["num_videos"] for b in again] == [5, 5, 2]
    changed = 0
    for before, after in zip(whole, again, strict=True):
        for i, video in enumerate(before["video_id"]):
            if video in ("v05", "v06"):
                changed += 1
                assert after["video_id"][i] not in ("v05", "v06")
            else:
                assert after["video_id"][i] == video
                assert torch.equal(after["clips"][i], before["clips"][i])
    assert changed == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_vanished_video_ends_the_run_with_on_bad_video_raise(workers, listed, tmp_path):
    data = data_of(listed, tmp_path, on_bad_video="raise", num_workers=workers)
    (listed.root / "05.mp4").unlink()
    with pytest.raises(VideoError, match=r"05\.mp4: no such video file"):
        batches(data)


@pytest.mark.parametrize("workers", [0, 2])
def test_when_all_have_vanished_the_run_ends(workers, listed, tmp_path):
    data = data_of(listed, tmp_path, num_workers=workers)
    shutil.rmtree(listed.root)
    with pytest.raises(UsageError, match="20 videos in a row cannot be read"):
        batches(data)


def test_vanished_validation_videos_do_not_count(listed, tmp_path):
    data = data_of(listed, tmp_path)
    (listed.root / "12.mp4").unlink()
    (batch,) = list(data.val_dataloader())
    assert batch["num_videos"] == 2
    assert batch["video_id"][:2] == ["v13", "v14"]
    assert [v for v, _ in batch["bad_videos"]] == ["v12"]


def report_differences(rank: int, root: Path, place: Path, results: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    data = data_of(Listed(root), place / str(rank))
    if rank:
        data.videos("test").pop()  # a file that this process could not read at that moment
    try:
        data.check_processes_agree()
    except UsageError as error:
        results.put(str(error))
    torch.distributed.destroy_process_group()


def test_processes_that_could_read_other_videos_stop(listed, tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=report_differences, args=(r, listed.root, tmp_path, results)) for r in range(2)]
    for process in processes:
        process.start()
    messages = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert messages == ["only some of the processes could read v19; start again"] * 2


def fail_while_reading(root: Path, place: Path) -> None:
    data = data_of(Listed(root), place, num_workers=2)
    loader = data.train_dataloader()
    keep = [iter(loader), loader]
    keep.append(keep)  # a cycle, as a traceback makes one
    next(keep[0])
    raise RuntimeError("the training has failed")


def test_loader_processes_end_with_a_failing_training(listed, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=fail_while_reading, args=(listed.root, tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode == 1


class Looking(pl.LightningModule):
    """Classifies by brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 2)

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        level = batch["clips"].float().mean((1, 2, 3, 4, 5, 6))[:, None]
        return torch.nn.functional.cross_entropy(self.layer(level / 255), batch["targets"])

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data: SectionClipDataModule, limit: float) -> None:
    account = BadVideos(limit=limit, known=0, num_videos=12)
    pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0, callbacks=[account],
    ).fit(Looking(), datamodule=data)  # fmt: skip


def test_bad_videos_are_named_once_and_too_many_end_the_training(listed, tmp_path, capfd):
    data = data_of(listed, tmp_path)
    (listed.root / "05.mp4").unlink()
    fit(data, limit=0.1)
    assert capfd.readouterr().err.count("bad video v05") == 1
    (listed.root / "06.mp4").unlink()
    with pytest.raises(UsageError, match=r"2 of 12 training videos cannot be used, more than .*max_bad=0.1"):
        fit(data, limit=0.1)


class Bright(pl.LightningModule):
    """Classifies by brightness, in place of a trained recogniser."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = torch.nn.Identity()

    def classify(self, clips: torch.Tensor) -> torch.Tensor:
        level = clips.float().mean((1, 2, 3, 4))
        return torch.stack([level, -level], 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_test_videos_that_cannot_be_read_are_counted_as_failed(listed, tmp_path, workers):
    data = data_of(listed, tmp_path)
    spoil(listed.root / "16.mp4")
    (listed.root / "19.mp4").unlink()
    plan = ScoringPlan(data.videos("test"), [Uniform()], [Scheme(2, 2, 4, 10, 1)], data.classes, "probabilities")
    networks = Networks({"baseline": Bright()}, {})  # type: ignore[dict-item]

    def score(*, skip_bad: bool):
        loading = Loading(num_workers=workers, timeout=60, skip_bad=skip_bad)
        return score_videos(plan, data.reader, networks, device=torch.device("cpu"), loading=loading)

    scores, _, failed = score(skip_bad=True)
    assert list(failed) == ["v16", "v19"]
    assert scores.video_id.tolist() == ["v15", "v17", "v18"]
    assert set(scores.clip_video.tolist()) == {0, 1, 2}
    with pytest.raises(VideoError, match=r"16\.mp4"):
        score(skip_bad=False)
    shutil.rmtree(listed.root)
    with pytest.raises(VideoError, match=r"15\.mp4"):
        score(skip_bad=True)


def test_images_are_indexed_again_when_they_or_settings_change(tmp_path):
    (tmp_path / "videos" / "v").mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (9, 9)).save(tmp_path / "videos" / "v" / f"frame_{i}.png")

    def look(**settings):
        (found,) = index_videos([tmp_path / "videos" / "v"], tmp_path / "index", root=tmp_path / "videos",
                                decoder=ImageFolder(**settings), num_threads=1, show=False).values()  # fmt: skip
        return found

    assert isinstance(look(), VideoError)
    assert look(pattern="frame_*.png").fps == 25
    assert look(pattern="frame_*.png", fps=10).fps == 10
    Image.new("RGB", (7, 7)).save(tmp_path / "videos" / "v" / "frame_1.png")
    assert "expected 9x9 pixels, got 7x7" in str(look(pattern="frame_*.png", fps=10))


def test_a_run_records_missing_and_failed_videos(class_folders, tmp_path):
    root = tmp_path / "videos"
    shutil.copytree(class_folders, root)
    test = [r.path for r in Folder(str(root)).records("test")]
    spoil(test[0])
    call("dsn-train", "dataset=folder", "recipe=none", f"dataset.root={root}", "algorithm=baseline",
         "schedule.max_epochs=1", "M=1",
         "schedule.batch_size=4", "hydra.run.dir=run", "trainer.accelerator=cpu", "test.random_draws=2",
         "test.figures=false", cwd=tmp_path)  # fmt: skip
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {(r["videos"], r["videos_missing"], r["videos_failed"]) for r in rows} == {(len(test) - 1, 0, 1)}
    failed = json.loads((tmp_path / "run" / "videos.json").read_text())["test"]["failed"]
    assert list(failed) == [test[0].relative_to(root).as_posix()]
    for name, arguments in {"two": ["devices=2"], "raising": ["dataset.reading.on_bad_video=raise"],
                            "odd": ["dataset.split=2"], "fps": ["dataset.fps=5"]}.items():  # fmt: skip
        done = call("dsn-evaluate", "checkpoint=run/checkpoints/last.ckpt", f"hydra.run.dir={name}", *arguments,
                    "test.random_draws=2", cwd=tmp_path, expect=2 if name in ("raising", "odd") else 0)  # fmt: skip
        message = {"raising": test[0].name, "odd": "dataset.split: dataset=folder has no such key"}.get(name, "")
        assert message in done.stderr
    figures = ("selection", "top1", "map", "videos", "videos_failed")
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert [[r[f] for f in figures] for r in two] == [[r[f] for f in figures] for r in rows]
    lengths = [np.load(tmp_path / name / "clip_scores.npz")["fps"][0] for name in ("run", "fps")]
    assert lengths == [25, 5]


def test_segments_are_videos_of_their_own():
    info = VideoInfo(50, 25.0, 8, 8, stamps=pack(range(50)), time_base=(1, 25))
    record = VideoRecord("v", Path("v.mp4"), (0,), segment=(0.4, 1.2))
    video = place_on_time_line(record, info, None)
    assert (video.num_frames, video.source[0], video.source[-1], video.offset) == (20, 10, 29, 0.4)
    resampled = place_on_time_line(record, info, 5.0)
    assert resampled.source.tolist() == [10, 15, 20, 25]
    with pytest.raises(VideoError, match="no frames in its segment"):
        place_on_time_line(VideoRecord("v", Path("v.mp4"), (0,), segment=(9.0, 10.0)), info, None)


def index(source: Listed, folder: Path, decoder: PyAV | None = None):
    paths = sorted(source.root.glob("*.mp4"))
    return index_videos(paths, folder, root=source.root, decoder=decoder or PyAV(), num_threads=2, show=False)


def bad_ones(found: dict) -> dict[Path, VideoError]:
    return {path: error for path, error in found.items() if isinstance(error, VideoError)}


class Counting(PyAV):
    """Counts the files that are decoded."""

    probed: list[Path] = []  # noqa: RUF012

    def probe(self, path: Path) -> VideoInfo:
        self.probed.append(path)
        return super().probe(path)


def test_only_changed_files_are_decoded_again(listed, tmp_path):
    spoil(listed.root / "03.mp4")
    first = index(listed, tmp_path / "a")
    assert [p.name for p in bad_ones(first)] == ["03.mp4"]
    assert usable(first)[listed.root / "00.mp4"].num_frames == 12
    content = (tmp_path / "a" / INDEX).read_bytes()
    Counting.probed.clear()
    again = index(listed, tmp_path / "a", Counting())
    assert Counting.probed == []
    assert {p: str(e) for p, e in bad_ones(again).items()} == {p: str(e) for p, e in bad_ones(first).items()}
    write_video(listed.root / "00.mp4", grey_ramp(9))
    assert usable(index(listed, tmp_path / "a", Counting()))[listed.root / "00.mp4"].num_frames == 9
    assert [p.name for p in Counting.probed] == ["00.mp4"]
    assert (tmp_path / "a" / INDEX).read_bytes() != content
    (tmp_path / "a" / INDEX).write_text("{")
    assert len(usable(index(listed, tmp_path / "a"))) == 19


class Stopping(PyAV):
    """Is killed after some files."""

    def probe(self, path: Path) -> VideoInfo:
        if path.name == "13.mp4":
            os._exit(9)
        return super().probe(path)


def index_until_killed(listed: Listed, folder: Path, decoder: Stopping) -> None:
    child = os.fork()
    if child == 0:
        try:
            index(listed, folder, decoder)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9


def test_a_killed_index_continues_and_ends_alike(listed, tmp_path):
    whole = tmp_path / "whole"
    index(listed, whole)
    index_until_killed(listed, tmp_path / "part", Stopping())
    assert not (tmp_path / "part" / INDEX).exists()
    with open(tmp_path / "part" / ".index.journal", "a") as journal:
        journal.write('[2, "00.mp4", {"mark"')  # and torn
    Counting.probed.clear()
    index(listed, tmp_path / "part", Counting())
    assert 0 < len(Counting.probed) <= 8  # those from the last that the two threads were at
    assert (tmp_path / "part" / INDEX).read_bytes() == (whole / INDEX).read_bytes()
    assert sorted(p.name for p in (tmp_path / "part").iterdir() if p.suffix != ".lock") == [INDEX]


class Failing(Stopping):
    """Cannot read the first file for the moment, and is killed later on."""

    def probe(self, path: Path) -> VideoInfo:
        if path.name == "00.mp4":
            raise VideoError(path, "stale file handle", transient=True)
        return super().probe(path)


def test_a_transient_failure_is_tried_again(listed, tmp_path):
    assert len(bad_ones(index(listed, tmp_path / "a", PyAV(0.0)))) == 20
    assert len(usable(index(listed, tmp_path / "a"))) == 20
    index_until_killed(listed, tmp_path / "b", Failing())
    assert "stale file handle" in (tmp_path / "b" / ".index.journal").read_text()
    assert len(usable(index(listed, tmp_path / "b"))) == 20
