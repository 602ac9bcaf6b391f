"""W&B and TensorBoard: the files of a run that finished, failed, or was stopped and resumed."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import NEEDLE
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.runs import KEYS, find_runs, read_configs, read_histories, read_results
from dsn_lightning.runs.wandb_account import choose_mode
from dsn_lightning.selections import Uniform
from helpers.processes import call, start
from helpers.wandb_files import WandbFile, read_all
from helpers.wandb_server import assert_one_whole_run, stand_in_server

TINY = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.random_draws=3", "test.figures=false", "logger=wandb",
]  # fmt: skip
LOGGED = [  # in every epoch of a DSN training
    "epoch", "trainer/global_step", "train/classifier_loss", "train/sampler_loss", "train/classifier_lr",
    "train/sampler_lr", "train/policy_reward", "train/policy_right", "train/policy_baseline",
    "train/policy_advantage_std", "train/policy_entropy", "train/policy_agreement", "train/position_share_0",
    "train/position_share_1", "train/selected_positions", "val/top1", "val/map", "val/mean_class",
    "train/classifier_gradient_norm", "train/sampler_gradient_norm", "time/videos_per_second", "time/loader_wait",
]  # fmt: skip  # (val/top5 only where there are more than five classes)


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory):
    """An environment without a W&B account, whose connections all go to the socket of this test."""
    empty = tmp_path_factory.mktemp("nobody")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    here = f"http://127.0.0.1:{listener.getsockname()[1]}"
    env: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("WANDB_"))
    env |= dict.fromkeys(("NO_PROXY", "no_proxy"))
    env |= {"NETRC": str(empty / "netrc"), "WANDB_CONFIG_DIR": str(empty)}
    env |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "WANDB_BASE_URL"), here)
    yield env, listener
    listener.close()


@pytest.fixture(scope="module")
def good(needle_root: Path, nobody, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and an evaluation that finish."""
    root = tmp_path_factory.mktemp("good")
    done = call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "logger=[wandb,tensorboard]",
                "logger.wandb.tags=[mine]", "hydra.run.dir=run", cwd=root, env=nobody[0])  # fmt: skip
    assert "wandb sync" in done.stderr
    assert done.stderr.count("wandb:") == 0
    # a process from nothing: a forked process skips what W&B does at interpreter exit
    program = "import sys; from dsn_lightning.cli.evaluate import main; sys.argv[0] = 'dsn-evaluate'; main()"
    arguments = ["checkpoint=run/checkpoints/last.ckpt", "test.M=[1,2]", "logger=wandb", "hydra.run.dir=evaluated"]
    env = {name: value for name, value in {**os.environ, **nobody[0]}.items() if value is not None}
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=root, check=True, capture_output=True, env=env)
    return root


@pytest.fixture(scope="module")
def trained(good: Path) -> WandbFile:
    (found,) = read_all(good / "run")
    return found


@pytest.fixture(scope="module")
def evaluated(good: Path) -> WandbFile:
    (found,) = read_all(good / "evaluated")
    return found


def test_the_run_is_described(trained, good):
    environment = json.loads((good / "run" / "environment.json").read_text())
    assert {key: trained.config[key] for key in ("M", "N", "gamma", "seed")} == {
        "M": 2,
        "N": 2,
        "gamma": 0.5,
        "seed": 0,
    }
    assert trained.config["test"]["M"] == 2  # resolved
    names = {key: trained.config[f"{key}_name"] for key in ("algorithm", "dataset", "backbone")}
    assert names == {"algorithm": "dsn", "dataset": "needle", "backbone": "r3d_tiny"}
    videos = json.loads((good / "run" / "videos.json").read_text())
    assert trained.config["data_digest"] == {subset: part["digest"] for subset, part in videos.items()}
    assert len({*trained.config["data_digest"].values()}) == 3
    is_dirty = (environment["git_commit"] or "").endswith("-dirty")
    assert ("diff.patch" in trained.saved) == is_dirty
    assert trained.config["git_commit"] == environment["git_commit"]
    assert trained.run.git.commit == (environment["git_commit"] or "").removesuffix("-dirty")
    assert trained.run.job_type == "train"
    assert trained.run.run_group == ""
    assert trained.run.project == "dsn_lightning"
    assert trained.run.display_name == "dsn needle 2:2 gamma=0.5 seed=0"
    assert list(trained.run.tags) == ["dsn", "needle", "r3d_tiny", "mine"]
    assert trained.run.run_id == (good / "run" / "wandb_id.txt").read_text().strip()
    assert trained.exit_code == 0


def test_history_is_what_metrics_csv_holds(trained, good):
    table = list(csv.DictReader((good / "run" / "metrics.csv").read_text().splitlines()))
    epochs = [row for row in trained.history if "train/classifier_loss" in row]
    assert len(epochs) == len(table) == 2
    for row, line in zip(epochs, table, strict=True):
        assert [name for name in LOGGED if name not in row] == []
        for name in line:
            assert row[name] == pytest.approx(float(line[name])), name
        shares = row["train/selected_positions"]
        assert shares["values"] == [row["train/position_share_0"], row["train/position_share_1"]]
        assert sum(shares["values"]) == pytest.approx(1)
        assert shares["bins"] == [-0.5, 0.5, 1.5]
    for name in LOGGED:
        assert name in trained.summary


def test_epochs_are_the_axis_of_what_is_logged_once_an_epoch_and_batches_that_of_tests(trained):
    axes = {"epoch": "", "trainer/global_step": ""}
    for row in trained.history:
        logged = {name for name in row if not name.startswith("_")}
        for name in logged:
            expected = "trainer/global_step" if name.startswith("test/") else axes.get(name, "epoch")
            assert trained.definition(name).step_metric == expected, name
    hidden = {name for name in trained.summary if name.endswith("_best")}
    assert hidden == {"val/top1_best", "val/map_best", "val/mean_class_best"}
    assert {name for name, metric in trained.metrics.items() if metric.options.hidden} == hidden
    patterns = [name[:-1] for name in trained.metrics if name.endswith("*")]
    assert [(a, b) for a in patterns for b in patterns if a != b and a.startswith(b)] == []  # W&B takes either of two


def test_the_summary_has_the_best_and_the_last_of_each_figure_of_held_out_videos(trained, good):
    table = list(csv.DictReader((good / "run" / "metrics.csv").read_text().splitlines()))
    assert trained.summary["epoch"] == 1
    for name in ("val/top1", "val/map", "val/mean_class"):
        values = [float(line[name]) for line in table]
        assert trained.summary[name] == pytest.approx(values[-1])
        assert trained.summary[f"{name}_best"] == pytest.approx(max(values))


def test_test_rows_are_in_table_and_summary(trained, evaluated, good):
    for found, folder in ((trained, "run"), (evaluated, "evaluated")):
        rows = json.loads((good / folder / "results.json").read_text())
        assert found.table("test/rows") == rows
        by = {(row["selection"], row["M"]): row for row in rows}
        for m in {row["M"] for row in rows}:
            assert found.summary[f"test/dsn/M{m}/top1"] == by["dsn", m]["top1"]
            assert found.summary[f"test/uniform+dsn/M{m}/map"] == by["uniform", m]["map"]
        for figure in (
            "top1",
            "map",
            "mean_class",
            "gmacs",
        ):  # at the M that was trained, not the first
            assert found.summary[f"test/{figure}"] == by["dsn", 2][figure]


def test_offline_files_alone_give_the_tables_of_the_folder(good, tmp_path):
    for name in ("run", "evaluated"):
        shutil.copytree(good / name / "wandb", tmp_path / name)
    configs, whole = read_configs(tmp_path / "run").iloc[0], read_configs(good / "run").iloc[0]
    for name in ("state", "exit_code", *KEYS, "algorithm.name", "schedule.max_epochs", "dataset.num_train"):
        assert configs[name] == whole[name], name
    assert abs(pd.Timestamp(configs["started"]) - pd.Timestamp(whole["started"])) < pd.Timedelta(minutes=1)
    histories, table = read_histories(tmp_path / "run"), read_histories(good / "run")
    columns = [name for name in table if name != "run"]
    pd.testing.assert_frame_equal(histories[columns], table[columns], check_dtype=False)
    for name in ("run", "evaluated"):
        results, rows = read_results(tmp_path / name), read_results(good / name)
        columns = list(rows.columns[rows.columns.get_loc("selection") :])
        pd.testing.assert_frame_equal(results[columns], rows[columns], check_dtype=False)
    assert len(find_runs(good)) == 2  # what lies in the folder of a run is no other run


def test_confusion_matrix_counts_the_videos(trained, good):
    cells = trained.table("test/confusion_matrix_table")
    rows = json.loads((good / "run" / "results.json").read_text())
    (top1,) = [row["top1"] for row in rows if (row["selection"], row["classifier"]) == ("dsn", "dsn")]
    assert sum(cell["nPredictions"] for cell in cells) == 6
    right = sum(cell["nPredictions"] for cell in cells if cell["Actual"] == cell["Predicted"])
    assert right / 6 == pytest.approx(top1)
    scores = ClipScores.load(good / "run" / "clip_scores.npz")
    actual = Counter(str(scores.classes[j]) for j in scores.targets.argmax(1))
    for name in actual:
        assert sum(cell["nPredictions"] for cell in cells if cell["Actual"] == name) == actual[name]


def test_selected_clips_are_the_most_probable_and_have_frames(trained, good):
    rows = trained.table("test/selected_clips")
    scores = ClipScores.load(good / "run" / "clip_scores.npz")
    assert [(row["video"], row["section"]) for row in rows] == [(v, m) for v in scores.video_id for m in range(2)]
    for row in rows:
        policy = np.array(row["probabilities"].split(), float)
        assert policy.sum() == pytest.approx(1, abs=1e-3)
        assert row["clip"] == policy.argmax()
        assert row["probability"] == pytest.approx(policy.max(), abs=1e-4)
        assert row["start_seconds"] == pytest.approx(row["start_frame"] / 25, abs=0.5)
        with Image.open(trained.files[row["frames"]["path"]]) as image:
            assert image.width == 3 * image.height
            assert np.ptp(np.asarray(image)) > 0


def test_evaluations_have_their_job_type(evaluated, trained):
    assert evaluated.run.job_type == "evaluate"
    assert evaluated.run.display_name == "dsn needle 2:2 gamma=0.5 seed=0 test [1,2]:2"
    assert evaluated.config["N"] == 2
    assert evaluated.config["data_digest"] == {"test": trained.config["data_digest"]["test"]}
    assert evaluated.exit_code == 0


def test_without_an_account_nothing_is_contacted(evaluated, nobody):
    with pytest.raises(BlockingIOError):
        nobody[1].accept()


def test_tensorboard_has_the_same_figures(trained, good):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(good / "run" / "tensorboard"))
    events.Reload()
    table = list(csv.DictReader((good / "run" / "metrics.csv").read_text().splitlines()))
    for name in set(table[0]) - {"epoch"}:
        assert [e.value for e in events.Scalars(name)] == pytest.approx([float(line[name]) for line in table]), name
    rows = json.loads((good / "run" / "results.json").read_text())
    (top1,) = [row["top1"] for row in rows if (row["selection"], row["classifier"]) == ("dsn", "dsn")]
    assert [e.value for e in events.Scalars("test/dsn/M2/top1")] == pytest.approx([top1])


class Failing(Uniform):
    """Fails when it is used."""

    def select(self, scores, scheme, classifier):
        raise RuntimeError("this method has broken")


@pytest.mark.parametrize(
    ("arguments", "code", "epochs"),
    [
        (["estimator._target_=builtins.dict"], 1, 0),
        ([f"+selection.failing._target_={__name__}.Failing", "schedule.max_epochs=1"], 1, 1),
        (["classifier.checkpoint=nothing.ckpt"], 2, 0),
    ],
    ids=["exception in training", "exception in evaluation", "usage error"],
)
def test_a_failure_is_recorded(arguments, code, epochs, needle_root, nobody, tmp_path):
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, *arguments, "hydra.run.dir=run", cwd=tmp_path,
         expect=code, env=nobody[0])  # fmt: skip
    (found,) = read_all(tmp_path / "run")
    assert found.exit_code == code
    assert found.config["M"] == 2
    assert len([row for row in found.history if "train/classifier_loss" in row]) == epochs


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_recorded_and_resumed_under_its_id(sent, code, needle_root, nobody, tmp_path):
    run = tmp_path / "run"
    process = start("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "schedule.max_epochs=8",
                    "test.enabled=false", "sweep.group='my sweep'", "hydra.run.dir=run", cwd=tmp_path,
                    env=nobody[0])  # fmt: skip
    while process.is_alive() and epochs_done(run) < 2:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, sent)
    process.join()
    assert process.exitcode == code
    (first,) = read_all(run)
    assert first.exit_code == code
    assert "train/classifier_loss" in first.summary
    if sent == signal.SIGINT:
        return  # once is enough
    call("dsn-train", "resume=run", "logger.wandb.notes=resumed", cwd=tmp_path, env=nobody[0])
    first, second = read_all(run)
    assert second.run.run_id == first.run.run_id
    assert second.exit_code == 0
    assert second.run.resume
    assert second.run.run_group == first.run.run_group == "my sweep"
    steps = [row["_step"] for row in first.history + second.history if "train/classifier_loss" in row]
    assert steps == sorted(set(steps))
    assert [row["epoch"] for row in second.history][-1] == 7


def test_the_variables_of_wandb_reach_it_and_its_id_is_kept(needle_root, nobody, tmp_path):
    given = {"WANDB_NAME": "my name", "WANDB_TAGS": "one,two", "WANDB_RUN_GROUP": "my group", "WANDB_RUN_ID": "agent7"}
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "trainer.max_time=00:00:00:00",
         "test.enabled=false", "hydra.run.dir=run", cwd=tmp_path, env=nobody[0] | given)  # fmt: skip
    call("dsn-train", "resume=run", "trainer.max_time=null", cwd=tmp_path, env=nobody[0])
    call("dsn-evaluate", "checkpoint=run/checkpoints/last.ckpt", "logger=wandb", "logger.wandb.id=mine",
         "hydra.run.dir=evaluated", cwd=tmp_path, env=nobody[0] | given)  # fmt: skip
    first, second = read_all(tmp_path / "run")
    assert (first.run.display_name, first.run.run_group) == ("my name", "my group")
    assert list(first.run.tags) == ["dsn", "needle", "r3d_tiny", "one", "two"]
    assert first.run.run_id == second.run.run_id == "agent7"
    (evaluated,) = read_all(tmp_path / "evaluated")
    assert evaluated.run.run_id == "mine"


def epochs_done(run: Path) -> int:
    try:
        return int(json.loads((run / "progress.json").read_text())["epoch"])
    except (OSError, json.JSONDecodeError):
        return 0


@pytest.fixture
def no_settings(monkeypatch, tmp_path):
    for name in [*os.environ]:
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("no_settings")
def test_online_only_where_an_account_is_set_up(monkeypatch, tmp_path):
    assert choose_mode("auto") == "offline"
    (tmp_path / ".netrc").write_text("machine example.org login user password x\n")
    assert choose_mode("auto") == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert choose_mode("auto") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert choose_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode("auto") == "disabled"
    assert choose_mode("offline") == "offline"
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nmode = offline\n")  # what `wandb offline` writes
    assert choose_mode("auto") == "offline"


@pytest.mark.usefixtures("no_settings")
def test_online_without_an_account_is_refused(monkeypatch):
    with pytest.raises(UsageError, match=r"logger.wandb.mode=online: no W&B account is set up"):
        choose_mode("online")
    with pytest.raises(UsageError, match=r"logger.wandb.mode=of: must be"):
        choose_mode("of")
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UsageError, match="WANDB_MODE=online: no W&B account"):
        choose_mode("auto")


def test_missing_tensorboard_gets_one_line(monkeypatch, tmp_path):
    from lightning_fabric.loggers import tensorboard

    from dsn_lightning.tracking.loggers import RunInfo, TensorBoardRun

    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(tensorboard, name, False)
    info = RunInfo(tmp_path, {}, "train", "name", [], None)
    with pytest.raises(UsageError, match=r"pip install 'dsn-lightning\[tensorboard\]'"):
        TensorBoardRun(info)


@pytest.mark.parametrize("batch_size", [12, 4], ids=["stopped at an epoch's end", "stopped in an epoch"])
def test_a_run_that_stops_twice_has_all_epochs_in_every_logger(batch_size, needle_root, nobody, tmp_path):
    run, at_once = tmp_path / "run", "trainer.max_time=00:00:00:00"
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *TINY, "schedule.max_epochs=14", at_once,
         f"schedule.batch_size={batch_size}", "logger=[wandb,tensorboard]", "hydra.run.dir=run", cwd=tmp_path,
         env=nobody[0])  # fmt: skip
    call("dsn-train", "resume=run", at_once, cwd=tmp_path, env=nobody[0])
    call("dsn-train", "resume=run", "trainer.max_time=null", cwd=tmp_path, env=nobody[0])
    table = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [int(line["epoch"]) for line in table] == list(range(14))

    parts = read_all(run)
    assert len(parts) == 3
    joined = read_histories(shutil.copytree(run / "wandb", tmp_path / "copied"))
    assert joined["epoch"].tolist() == list(range(14))
    assert joined["val/top1"].tolist() == pytest.approx([float(line["val/top1"]) for line in table])
    history = [row for part in parts for row in part.history]
    steps = [row["_step"] for row in history]
    assert steps == sorted(steps)  # W&B ignores a row with a smaller step than that of the row before
    epochs = [row for row in history if "train/classifier_loss" in row]
    assert [row["epoch"] for row in epochs] == list(range(14))
    for row, line in zip(epochs, table, strict=True):
        assert [name for name in line if name not in row] == []
        assert row["val/top1"] == pytest.approx(float(line["val/top1"]))
        so_far = [float(earlier["val/top1"]) for earlier in table[: int(row["epoch"]) + 1]]
        assert row["val/top1_best"] == pytest.approx(max(so_far))
    per_epoch = -(-12 // batch_size)  # of 12 videos
    assert [row["trainer/global_step"] for row in epochs] == [per_epoch * (epoch + 1) for epoch in range(14)]
    tests = [row["trainer/global_step"] for row in history if "test/dsn/M2/top1" in row]
    assert tests == [1, 2, 14 * per_epoch]
    for name in ("test/rows", "test/selected_clips", "test/confusion_matrix_table"):  # with tests, not with epochs
        assert [row["trainer/global_step"] for row in history if name in row] == tests
    with stand_in_server() as server:
        server.upload(part.folder for part in parts)
        assert_one_whole_run(server, run, batches=per_epoch)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name in ("train/classifier_loss", "val/top1"):
        assert [e.step for e in events.Scalars(name)] == [per_epoch * (epoch + 1) for epoch in range(14)]
        assert [e.value for e in events.Scalars(name)] == pytest.approx([float(line[name]) for line in table])
    assert [e.step for e in events.Scalars("test/dsn/M2/top1")] == tests
