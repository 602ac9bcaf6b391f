"""dsn-train -m: every job runs in its own process; failures are named; a stopped sweep is resumed."""

import csv
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from conftest import NEEDLE, grey_ramp, write_video
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.sweep import plan_sweep
from dsn_lightning.runs import read_configs
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob
from helpers.processes import call, start
from helpers.trained_runs import metrics_of, processes_in, states
from helpers.wandb_files import read_all

SMALL = [
    "schedule.max_epochs=2", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "test.enabled=false", "trainer.accelerator=cpu",
]  # fmt: skip

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_a_failed_job_is_named_and_the_others_finish(needle_root, tmp_path):
    sweep = tmp_path / "sweep"
    done = call("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "gamma=0,-1,0.5", "sweep.jobs=2",
                "logger=wandb", "logger.wandb.mode=offline", "hydra.sweep.dir=sweep", cwd=tmp_path,
                expect=1)  # fmt: skip
    assert states(sweep) == ["done", "failed", "done"]
    assert "1 gamma=-1: failed" in done.stdout
    assert "gamma=-1: is a penalty" in (sweep / "1" / "log.txt").read_text()
    record = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert [job["exit_code"] for job in record] == [0, 2, 0]
    runs = [read_all(sweep / str(job)) for job in range(3)]  # W&B: one run for each job that began
    assert [len(found) for found in runs] == [1, 0, 1]
    assert [(runs[job][0].run.run_group, runs[job][0].exit_code) for job in (0, 2)] == [("sweep", 0)] * 2
    assert runs[0][0].run.run_id != runs[2][0].run.run_id
    (command,) = [line for line in done.stdout.splitlines() if "wandb sync" in line]  # without a terminal
    pattern = command.partition("wandb sync ")[2]
    assert pattern == f"{sweep}/*/wandb/offline-run-*"
    found = {path.relative_to(sweep).parts[0] for path in sweep.glob("*/wandb/offline-run-*")}
    assert found == {"0", "2"}
    assert f"written: {sweep}" in done.stdout
    assert [path for path in sweep.rglob("*.log") if "wandb" not in path.parts] == []
    written = (sweep / "0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    call("dsn-train", "sweep.resume=sweep", cwd=tmp_path, expect=1)
    assert states(sweep) == ["done", "failed", "done"]
    assert (sweep / "0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == written


def test_a_killed_sweep_leaves_no_process_and_is_resumed(needle_root, tmp_path):
    sweep = tmp_path / "sweep"
    process = start("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "seed=0,1,2",
                    "hydra.sweep.dir=sweep", cwd=tmp_path)  # fmt: skip
    progress = sweep / "1" / "progress.json"
    while process.is_alive() and not progress.is_file():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert states(sweep) == ["done", "running", "waiting"]
    deadline = time.monotonic() + 10
    while processes_in(sweep) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(sweep) == []
    call("dsn-train", "sweep.resume=sweep", cwd=tmp_path)
    assert states(sweep) == ["done", "done", "done"]
    for job in range(3):
        assert (sweep / str(job) / "metrics.csv").read_text().count("\n") == 3


def test_ctrl_c_stops_cleanly(needle_root, tmp_path):
    process = start("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "schedule.max_epochs=500",
                    "gamma=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)  # fmt: skip
    while process.is_alive() and not (tmp_path / "sweep" / "0" / "progress.json").is_file():
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130
    assert "stopped; sweep.resume=" in (tmp_path / "out").read_text()
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert processes_in(tmp_path / "sweep") == []
    assert states(tmp_path / "sweep") == ["stopped", "waiting"]
    table = read_configs(tmp_path / "sweep")
    assert table.state.tolist() == ["stopped", "waiting"]
    assert table.exit_code[0] == 130 or table.exit_code[0] == 143


@pytest.mark.slow
def test_a_job_is_the_run_that_its_command_gives(needle_root, tmp_path):
    arguments = (f"dataset.root={needle_root}", *NEEDLE, *SMALL)
    call("dsn-train", "-m", *arguments, "gamma=0.25,0.5", "sweep.jobs=2", "hydra.sweep.dir=sweep", cwd=tmp_path)
    call("dsn-train", *arguments, "gamma=0.25", "hydra.run.dir=alone", cwd=tmp_path)
    assert metrics_of(tmp_path / "sweep" / "0") == metrics_of(tmp_path / "alone")  # with a thread each


def test_a_folder_that_holds_a_sweep_takes_no_other(small_sweep):
    before = {path.name: path.read_bytes() for path in small_sweep.iterdir() if path.is_file()}
    done = call("dsn-train", "-m", "M=1,3", f"hydra.sweep.dir={small_sweep}", cwd=small_sweep.parent, expect=2)
    assert (
        f"hydra.sweep.dir={small_sweep}: already holds a sweep; sweep.resume={small_sweep} continues it" in done.stderr
    )
    with pytest.raises(UsageError, match="already holds a sweep"):  # also without hydra.sweep.dir on the command line
        plan_sweep(SweepFolder(small_sweep), [SweepJob(["M=1"], "0")], continued=False, write_jobs=lambda: None)
    assert {path.name: path.read_bytes() for path in small_sweep.iterdir() if path.is_file()} == before


def test_a_recorded_job_can_be_begun_however_early_the_sweep_is_killed(tmp_path):
    sweep, recorded = SweepFolder(tmp_path / "sweep"), []

    def killed_while_the_jobs_are_written() -> None:
        recorded.append(sweep.exists())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan_sweep(sweep, [SweepJob(["M=1"], "0")], continued=False, write_jobs=killed_while_the_jobs_are_written)
    assert recorded == [False]
    assert not sweep.exists()  # so the same command begins it anew
    plan_sweep(sweep, [SweepJob(["M=1"], "0")], continued=False, write_jobs=lambda: recorded.append(sweep.exists()))
    assert recorded == [False, False]
    assert sweep.exists()


def test_jobs_find_plug_ins_outside_the_checkout(needle_root, tmp_path):
    """A data set from --config-dir, a schedule from hydra.searchpath; also when resumed from another folder."""
    copies = {"my conf/dataset/mine.yaml": "dataset/needle.yaml", "more/schedule/brief.yaml": "schedule/tiny.yaml"}
    for file, source in copies.items():
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text((CONF / source).read_text().replace("name: needle", "name: mine"))
    sweep = tmp_path / "sweep"
    (sweep / "1").mkdir(parents=True)
    (sweep / "1" / "checkpoints").write_text("in the way of this job's checkpoints")
    sources = ["--config-dir=my conf", "-m", "hydra.searchpath=[file://more]", "dataset=mine", "schedule=brief"]
    arguments = [*sources, f"dataset.root={needle_root}", *NEEDLE, *SMALL, "seed=0,1", "hydra.sweep.dir=sweep"]
    call("dsn-train", *arguments, cwd=tmp_path, expect=1)
    assert states(sweep) == ["done", "failed"]
    (sweep / "1" / "checkpoints").unlink()
    call("dsn-train", f"sweep.resume={sweep}", cwd=sweep)
    assert states(sweep) == ["done", "done"]
    assert read_configs(sweep)["dataset.name"].tolist() == ["mine", "mine"]


@pytest.mark.slow
def test_a_sweep_may_come_in_batches(needle_root, tmp_path):
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.sweep.dir=sweep"]
    call("dsn-train", "-m", *arguments, "seed=0,1,2", "hydra.sweeper.max_batch_size=2", cwd=tmp_path)
    jobs = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"]
    assert [(job["folder"], job["overrides"][-1], job["state"]) for job in jobs] == [
        ("0", "seed=0", "done"), ("1", "seed=1", "done"), ("2", "seed=2", "done"),
    ]  # fmt: skip


def test_a_sweep_ends_with_its_results(small_sweep, tmp_path):
    shutil.copytree(small_sweep, tmp_path / "sweep")
    done = call("dsn-train", "sweep.resume=sweep", cwd=tmp_path, expect=1)  # the good jobs are not run again
    lines = [line.replace("│", " ").split() for line in done.stdout.partition("results of the sweep")[2].splitlines()]
    rows = {line[0]: line[1:] for line in lines if line and line[0].isdecimal() and line[-3:-2] == ["2/2"]}
    assert sorted(rows) == ["0", "1"]
    for number, cells in rows.items():
        run = tmp_path / "sweep" / number
        best = json.loads((run / "progress.json").read_text())["best_value"]
        (own,) = [r for r in json.loads((run / "results.json").read_text()) if r["selection"] == r["algorithm"]]
        assert cells == ["gamma=0.5", f"seed={number}", "done", "2/2", f"{100 * best:.1f}", f"{100 * own['top1']:.1f}"]


def test_jobs_are_in_the_order_of_the_grid(small_sweep):
    jobs = json.loads((small_sweep / "sweep.json").read_text())["jobs"]
    grid = itertools.product(("gamma=0.5", "gamma=-1"), ("seed=0", "seed=1"))
    assert [tuple(job["overrides"][-2:]) for job in jobs] == list(grid)  # the last key turns fastest
    assert [job["exit_code"] for job in jobs] == [0, 0, 2, 2]


@pytest.mark.slow
def test_a_mean_over_splits_is_one_command(tmp_path):
    """hmdb51 with three clips a class, trained on each split for an epoch."""
    root = tmp_path / "hmdb51"
    (root / "splits").mkdir(parents=True)
    for shade in range(3):
        write_video(tmp_path / f"{shade}.mp4", grey_ramp(10 + shade))
    for number in range(51):
        name = f"class_{number:02}"
        (root / "videos" / name).mkdir(parents=True)
        clips = [f"film_{i}_{name}_f_cm_np1_le_bad_{i}.avi" for i in range(3)]
        for i, clip in enumerate(clips):
            shutil.copy(tmp_path / f"{i}.mp4", (root / "videos" / name / clip).with_suffix(".mp4"))
        for split in (1, 2, 3):
            codes = [2 if i == split - 1 else 1 for i in range(3)]
            lines = [f"{clip} {code}\n" for clip, code in zip(clips, codes, strict=True)]
            (root / "splits" / f"{name}_test_split{split}.txt").write_text("".join(lines))
    done = call("dsn-train", "-m", "dataset=hmdb51", f"dataset.root={root}", "dataset.split=1,2,3",
                "algorithm=baseline", "schedule.max_epochs=1", "schedule.batch_size=51", "M=1", "N=1",
                "trainer.accelerator=cpu", "dataset.reading.scales=[1.0]", "selection=[uniform]",
                "dataset.reading.dense_clips=1", "sweep.jobs=2", "hydra.sweep.dir=sweep",
                cwd=tmp_path)  # fmt: skip
    (mean,) = csv.DictReader((tmp_path / "sweep" / "mean_over_splits.csv").read_text().splitlines())
    rows = [json.loads((tmp_path / "sweep" / str(job) / "results.json").read_text())[0] for job in range(3)]
    assert [row["split"] for row in rows] == [1, 2, 3]
    assert float(mean["top1"]) == pytest.approx(sum(row["top1"] for row in rows) / 3)
    assert (mean["splits"], mean["videos"], mean["selection"]) == ("1 2 3", "153", "uniform")
    assert "means over splits" in done.stdout


@pytest.mark.parametrize("subdir", ["M${M}", "M${M}/../M${M}"])
def test_jobs_with_the_same_folder_are_refused_before_any_starts(subdir, needle_root, tmp_path):
    done = call("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "M=1,2", "gamma=0,1",
                f"hydra.sweep.subdir='{subdir}'", "hydra.sweep.dir=sweep", cwd=tmp_path, expect=2)  # fmt: skip
    assert f"jobs '0 M=1 gamma=0' and '1 M=1 gamma=1' have the same folder {tmp_path / 'sweep' / 'M1'}" in done.stderr
    assert [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == []
    assert not (tmp_path / "sweep" / "sweep.json").exists()


def test_a_job_whose_folder_holds_a_run_is_refused_before_any_starts(needle_root, tmp_path):
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *SMALL, "schedule.max_epochs=2"]
    call("dsn-train", *arguments, "hydra.run.dir=sweep/1", cwd=tmp_path)
    done = call("dsn-train", "-m", *arguments, "gamma=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path, expect=2)
    assert f"{tmp_path / 'sweep' / '1'} already holds a run (finished)" in done.stderr
    assert not (tmp_path / "sweep" / "0").exists()
