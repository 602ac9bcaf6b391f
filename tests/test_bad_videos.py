"""Videos that are missing, damaged or vanish: what is said of them, what is refused, what goes on."""

import json
import os
import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from conftest import grey_ramp, write_video
from dsn_lightning.data.bad_videos import BadVideos
from dsn_lightning.data.clips import place_on_time_line
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.decoding import PyAV, VideoError, VideoInfo, pack
from dsn_lightning.data.folder import Folder
from dsn_lightning.data.index import INDEX, bad_ones, good_ones, index_videos
from dsn_lightning.data.records import Subset, VideoRecord
from dsn_lightning.data.transforms import Crop
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scoring import Networks, score_videos
from dsn_lightning.selection import Scheme
from dsn_lightning.selection.uniform import Uniform
from processes import call


class Listed:
    """A data set of 12 training, 3 validation and 5 test videos of two classes."""

    name = "listed"
    classes = ("rise", "stay")
    split = {"train": range(12), "val": range(12, 15), "test": range(15, 20)}  # noqa: RUF012

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """They are there."""

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
    data = SectionClipDataModule(
        source, crop=Crop((34, 34), 32), num_sections=2, clips_per_section=2, test_num_sections=2,
        test_clips_per_section=2, frames_per_clip=4, batch_size=5, prepared=tmp_path / "prepared",
        **{"on_bad_video": "skip", **changes},
    )  # fmt: skip
    data.setup()
    return data


def test_missing_files_are_counted_by_subset_and_class(listed, tmp_path):
    for i in (0, 2, 3, 16):
        (listed.root / f"{i:02}.mp4").unlink()
    data = data_of(listed, tmp_path)
    stock = data.stock()
    assert stock["train"] == {"listed": 12, "present": 9, "missing": {"rise": 2, "stay": 1}, "failed": {}}
    assert stock["test"] == {"listed": 5, "present": 4, "missing": {"rise": 1}, "failed": {}}
    assert len(data.videos("train")) == 9
    data_of(listed, tmp_path, max_missing=0.25)
    with pytest.raises(UsageError, match=r"3 of 12 train videos are not there, more than .*max_missing=0.2"):
        data_of(listed, tmp_path, max_missing=0.2)


def test_a_subset_without_any_file_is_refused(listed, tmp_path):
    for i in listed.split["test"]:
        (listed.root / f"{i:02}.mp4").unlink()
    with pytest.raises(UsageError, match="none of 5 test videos is there"):
        data_of(listed, tmp_path)


def test_bad_files_are_left_out_or_end_the_run(listed, tmp_path):
    spoil(listed.root / "04.mp4")
    spoil(listed.root / "17.mp4")
    data = data_of(listed, tmp_path, max_bad=0.1)
    assert list(data.stock()["train"]["failed"]) == ["v04"]
    assert "04.mp4: cannot be decoded" in data.stock()["train"]["failed"]["v04"]
    assert list(data.bad["test"]) == ["v17"]
    with pytest.raises(VideoError, match=r"04\.mp4"):
        data_of(listed, tmp_path, on_bad_video="raise")
    with pytest.raises(UsageError, match=r"1 of 12 training videos cannot be used, more than .*max_bad=0.05"):
        data_of(listed, tmp_path, max_bad=0.05)


@pytest.mark.parametrize(
    "changes", [{"on_bad_video": "ignore"}, {"max_bad": 2}, {"max_missing": -1}, {"modality": "x"}]
)
def test_wrong_values_are_refused(listed, tmp_path, changes):
    (key,) = changes
    with pytest.raises(UsageError, match=key):
        data_of(listed, tmp_path, **changes)


def batches(data: SectionClipDataModule) -> list[dict]:
    return list(data.train_dataloader())


@pytest.mark.parametrize(
    "workers",
    [(0, None), (2, "fork"), pytest.param((2, "spawn"), marks=pytest.mark.slow)],  # each imports everything
    ids=["alone", "fork", "spawn"],
)
def test_what_vanishes_is_replaced_alike_whoever_reads(listed, tmp_path, workers):
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


def test_what_vanishes_ends_the_run_where_that_is_asked_for(listed, tmp_path):
    data = data_of(listed, tmp_path, on_bad_video="raise")
    (listed.root / "05.mp4").unlink()
    with pytest.raises(VideoError, match=r"05\.mp4: no such video file"):
        batches(data)


def test_when_all_have_vanished_the_run_ends(listed, tmp_path):
    data = data_of(listed, tmp_path)
    shutil.rmtree(listed.root)
    with pytest.raises(UsageError, match="videos one after the other cannot be read"):
        batches(data)


def test_vanished_validation_videos_do_not_count(listed, tmp_path):
    data = data_of(listed, tmp_path)
    (listed.root / "12.mp4").unlink()
    (batch,) = list(data.val_dataloader())
    assert batch["num_videos"] == 2
    assert batch["video_id"][:2] == ["v13", "v14"]
    assert [v for v, _ in batch["bad_videos"]] == ["v12"]


class Looking(pl.LightningModule):
    """Looks at brightness."""

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


def test_each_bad_video_is_named_once_and_too_many_end_the_training(listed, tmp_path, capfd):
    data = data_of(listed, tmp_path)
    (listed.root / "05.mp4").unlink()
    fit(data, limit=0.1)
    assert capfd.readouterr().err.count("bad video v05") == 1
    (listed.root / "06.mp4").unlink()
    with pytest.raises(UsageError, match=r"2 of 12 training videos cannot be used, more than .*max_bad=0.1"):
        fit(data, limit=0.1)


class Bright(pl.LightningModule):
    """Answers by brightness; stands for a trained recogniser."""

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
    arguments = (
        data.videos("test"), data.reader, Networks({"baseline": Bright()}, {}), [Uniform()],  # type: ignore[dict-item]
        [Scheme(2, 2, 4, 10, 1)],
    )  # fmt: skip
    options = {"classes": data.classes, "device": torch.device("cpu"), "num_workers": workers, "time_out": 60,
               "consensus": "probabilities"}  # fmt: skip
    scores, _, failed = score_videos(*arguments, **options, skip_bad=True)
    assert list(failed) == ["v16", "v19"]
    assert scores.video_id.tolist() == ["v15", "v17", "v18"]
    assert set(scores.clip_video.tolist()) == {0, 1, 2}
    with pytest.raises(VideoError, match=r"16\.mp4"):
        score_videos(*arguments, **options)
    shutil.rmtree(listed.root)
    with pytest.raises(VideoError, match=r"15\.mp4"):
        score_videos(*arguments, **options, skip_bad=True)


def test_a_run_says_what_was_missing_and_what_failed(class_folders, tmp_path):
    root = tmp_path / "videos"
    shutil.copytree(class_folders, root)
    test = [r.path for r in Folder(str(root)).records("test")]
    spoil(test[0])
    call("dsn-train", "dataset=folder", f"dataset.root={root}", "algorithm=baseline", "schedule.max_epochs=1", "M=1",
         "schedule.batch_size=4", "hydra.run.dir=run", "trainer.accelerator=cpu", "test.random_draws=2",
         cwd=tmp_path)  # fmt: skip
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {(r["videos"], r["videos_missing"], r["videos_failed"]) for r in rows} == {(len(test) - 1, 0, 1)}
    failed = json.loads((tmp_path / "run" / "videos.json").read_text())["test"]["failed"]
    assert list(failed) == [test[0].relative_to(root).as_posix()]


def test_segments_are_videos_of_their_own():
    info = VideoInfo(50, 25.0, 8, 8, stamps=pack(range(50)), time_base=(1, 25))
    record = VideoRecord("v", Path("v.mp4"), (0,), segment=(0.4, 1.2))
    video = place_on_time_line(record, info, None)
    assert (video.num_frames, video.source[0], video.source[-1], video.offset) == (20, 10, 29, 0.4)
    resampled = place_on_time_line(record, info, 5.0)
    assert resampled.source.tolist() == [10, 15, 20, 25]
    with pytest.raises(VideoError, match="no frame in its segment"):
        place_on_time_line(VideoRecord("v", Path("v.mp4"), (0,), segment=(9.0, 10.0)), info, None)


def index(source: Listed, folder: Path, decoder: PyAV | None = None):
    paths = sorted(source.root.glob("*.mp4"))
    return index_videos(paths, folder, root=source.root, decoder=decoder or PyAV(), num_threads=2, show=False)


class Counting(PyAV):
    """Counts the files that are decoded."""

    probed: list[Path] = []  # noqa: RUF012

    def probe(self, path: Path) -> VideoInfo:
        self.probed.append(path)
        return super().probe(path)


def test_only_what_has_changed_is_decoded_again(listed, tmp_path):
    spoil(listed.root / "03.mp4")
    first = index(listed, tmp_path / "a")
    assert [p.name for p in bad_ones(first)] == ["03.mp4"]
    assert good_ones(first)[listed.root / "00.mp4"].num_frames == 12
    content = (tmp_path / "a" / INDEX).read_bytes()
    Counting.probed.clear()
    again = index(listed, tmp_path / "a", Counting())
    assert Counting.probed == []
    assert {p: str(e) for p, e in bad_ones(again).items()} == {p: str(e) for p, e in bad_ones(first).items()}
    write_video(listed.root / "00.mp4", grey_ramp(9))
    assert good_ones(index(listed, tmp_path / "a", Counting()))[listed.root / "00.mp4"].num_frames == 9
    assert [p.name for p in Counting.probed] == ["00.mp4"]
    assert (tmp_path / "a" / INDEX).read_bytes() != content
    (tmp_path / "a" / INDEX).write_text("{")
    assert len(good_ones(index(listed, tmp_path / "a"))) == 19


class Stopping(PyAV):
    """Is killed after some files."""

    def probe(self, path: Path) -> VideoInfo:
        if path.name == "13.mp4":
            os._exit(9)
        return super().probe(path)


def test_an_index_that_is_killed_goes_on_and_ends_alike(listed, tmp_path):
    whole = tmp_path / "whole"
    index(listed, whole)
    if os.fork() == 0:
        index(listed, tmp_path / "part", Stopping())
    os.wait()
    assert not (tmp_path / "part" / INDEX).exists()
    with open(tmp_path / "part" / ".index.journal", "a") as journal:
        journal.write('[2, "00.mp4", {"mark"')  # and torn
    Counting.probed.clear()
    index(listed, tmp_path / "part", Counting())
    assert 0 < len(Counting.probed) <= 10
    assert (tmp_path / "part" / INDEX).read_bytes() == (whole / INDEX).read_bytes()
    assert sorted(p.name for p in (tmp_path / "part").iterdir() if p.suffix != ".lock") == [INDEX]


def test_a_passing_failure_is_tried_again(listed, tmp_path):
    assert len(bad_ones(index(listed, tmp_path / "a", PyAV(0.0)))) == 20
    assert len(good_ones(index(listed, tmp_path / "a"))) == 20
