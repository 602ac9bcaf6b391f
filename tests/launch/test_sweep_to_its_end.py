"""A sweep as it is used: a grid, a failure, a kill, the resumption, and the notebook that reads it; jobs that share."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import NEEDLE
from dsn_lightning.runs.reading import read_configs, read_results
from helpers.processes import call, start
from helpers.trained_runs import assert_same_run, epochs_done, processes_in, states
from helpers.wandb_files import read_all

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "03_sweep_over_M_N_gamma.ipynb"
TINY = [
    "schedule.max_epochs=2", "schedule.batch_size=6", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu",
    "algorithm.warmup_epochs=1", "test.figures=false",
]  # fmt: skip


@pytest.mark.slow
def test_eighteen_jobs_one_failing_killed_once(needle_root, tmp_path):
    """The whole of it: 17 good runs, the failed one named, and a whole W&B record for each."""
    sweep = tmp_path / "sweep"
    (sweep / "7").mkdir(parents=True)
    (sweep / "7" / "checkpoints").write_text("in the way of this job's checkpoints")
    process = start("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, *TINY, "M=1,2,3", "N=2,3",
                    "gamma=0,0.5,1", "sweep.jobs=2", "logger=wandb", "logger.wandb.mode=offline",
                    "hydra.sweep.dir=sweep", cwd=tmp_path)  # fmt: skip
    while process.is_alive() and not (sweep / "10" / "progress.json").is_file():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 10
    while processes_in(sweep) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {"done", "failed", "running", "waiting"} == set(states(sweep))
    done = call("dsn-train", "sweep.resume=sweep", "sweep.jobs=2", cwd=tmp_path, expect=1)
    assert "1 of the jobs did not end well" in done.stdout
    assert "7 M=2 N=2 gamma=0.5: failed" in done.stdout
    assert [state for state in states(sweep) if state != "done"] == ["failed"]

    table = read_configs(sweep)
    assert (table.state == "finished").sum() == 17
    (failed,) = table[table.state != "finished"].itertuples()
    assert (failed.M, failed.N, failed.gamma, failed.exit_code) == (2, 2, 0.5, 1)
    assert len(read_results(sweep).query("selection == 'dsn'")) == 17

    (ended,) = read_all(sweep)  # the killed process logged none
    assert (ended.run.job_type, ended.run.run_group, ended.exit_code) == ("sweep", "sweep", 1)
    assert (ended.summary["sweep/finished"], ended.summary["sweep/failed"]) == (17, 1)
    assert [row["state"] for row in ended.table("sweep/jobs")] == states(sweep)

    for job in range(18):
        runs = read_all(sweep / str(job))
        config = runs[-1].config
        assert (config["M"], config["N"]) == (table.M[job], table.N[job])
        assert config["gamma"] == table.gamma[job]
        assert {run.run.run_id for run in runs} == {runs[0].run.run_id}
        assert runs[-1].exit_code == (1 if job == 7 else 0)
        if job != 7:
            assert runs[-1].history
            assert any(name.startswith("test/dsn/") for name in runs[-1].summary)

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["DSN_SWEEP"] = str(sweep)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = json.dumps(notebook)
    assert "17" in shown
    assert "M=2 N=2 gamma=0.5" in shown


@pytest.mark.slow
def test_jobs_of_several_processes_in_a_sweep(needle_root, tmp_path):
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "test.enabled=false", "trainer.devices=2"]
    call("dsn-train", "-m", *arguments, "gamma=0.25,0.5", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert states(tmp_path / "sweep") == ["done", "done"]
    for job in ("0", "1"):
        run = tmp_path / "sweep" / job
        assert json.loads((run / "environment.json").read_text())["processes"] == 2
        assert "Traceback" not in (run / "process_1.txt").read_text()
    call("dsn-train", *arguments, "gamma=0.5", "hydra.run.dir=alone", cwd=tmp_path)
    assert_same_run(tmp_path / "sweep" / "1", tmp_path / "alone")


@pytest.mark.slow
def test_submitits_launcher_runs_the_same_jobs(needle_root, tmp_path):
    """Its local executor; each job is a process that imports everything anew."""
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "test.enabled=false"]
    program = "import torch; torch.set_num_threads(1); from dsn_lightning.cli.train import main; main()"
    (tmp_path / "go.py").write_text(program)
    command = [sys.executable, "go.py", "-m", "hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1",
               *arguments, "logger=wandb", "logger.wandb.mode=offline", "gamma=0.25,0.5",
               "hydra.sweep.dir=sweep"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert [read_all(tmp_path / "sweep" / job)[0].run.run_group for job in "01"] == ["sweep", "sweep"]
    call("dsn-train", *arguments, "gamma=0.5", "hydra.run.dir=alone", cwd=tmp_path)
    assert_same_run(tmp_path / "sweep" / "1", tmp_path / "alone")


@pytest.mark.slow
def test_a_job_that_submitit_requeues_goes_on_from_its_checkpoint(needle_root, tmp_path):
    """SIGUSR2, as before a preemption: submitit ends the process and executes the job again in the same folder."""
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "test.enabled=false", "schedule.max_epochs=25"]
    program = "import torch; torch.set_num_threads(1); from dsn_lightning.cli.train import main; main()"
    (tmp_path / "go.py").write_text(program)
    command = [sys.executable, "go.py", "-m", "hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1",
               "hydra.launcher.timeout_min=60", *arguments, "gamma=0.5", "hydra.sweep.dir=sweep"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run, epochs, log = tmp_path / "sweep" / "0", [0], tmp_path / "out"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
        signalled = None
        while process.poll() is None:
            epochs.append(epochs_done(run))
            if signalled is None and epochs[-1] >= 4:
                (task,) = processes_in(run / ".lock")
                os.kill(task, signal.SIGUSR2)
                signalled = epochs[-1]
            time.sleep(0.005)
    assert process.returncode == 0, log.read_text()
    assert signalled is not None
    assert signalled < 25
    assert epochs == sorted(epochs)
    logs = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").rglob("*_log.*"))
    assert logs.count("Exiting gracefully after preemption/timeout") + logs.count("Requeued job") >= 1
    call("dsn-train", *arguments, "gamma=0.5", "hydra.run.dir=alone", cwd=tmp_path)
    assert_same_run(run, tmp_path / "alone")
    assert epochs_done(run) == 25


@pytest.mark.slow
def test_a_sweep_goes_on_with_what_max_time_has_stopped(needle_root, tmp_path):
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "test.enabled=false", "schedule.max_epochs=40"]
    call("dsn-train", "-m", *arguments, "trainer.max_time=00:00:00:01", "gamma=0.5", "hydra.sweep.dir=sweep",
         cwd=tmp_path)  # fmt: skip
    progress = tmp_path / "sweep" / "0" / "progress.json"
    before = json.loads(progress.read_text())["epoch"]
    assert before < 40
    call("dsn-train", "sweep.resume=sweep", cwd=tmp_path)
    assert json.loads(progress.read_text())["epoch"] > before


@pytest.mark.slow
def test_what_several_jobs_need_is_trained_once(needle_root, tmp_path):
    """One baseline and one max-response network for two jobs, which want them at the same time."""
    arguments = [f"dataset.root={needle_root}", *NEEDLE, *TINY, "algorithm=dsn_fixed", "algorithm.warmup_epochs=0",
                 "classifier.checkpoint=auto", "observation.checkpoint=auto", "test.baseline=auto",
                 "test.max_response=auto", "shared.folder=shared"]  # fmt: skip
    call("dsn-train", "-m", *arguments, "M=2", "gamma=0,0.5", "N=2", "sweep.jobs=2", "hydra.sweep.dir=sweep",
         cwd=tmp_path)  # fmt: skip
    made = sorted(path.name.rsplit("_", 1)[0] for path in (tmp_path / "shared").iterdir() if path.is_dir())
    assert made == [f"needle_{backbone}_M2_seed0" for backbone in ("r2d_tiny", "r3d_tiny")]
    logs = "".join((tmp_path / "sweep" / str(job) / "log.txt").read_text() for job in range(2))
    assert logs.count("training what several runs share") == 2
    for job in range(2):
        rows = json.loads((tmp_path / "sweep" / str(job) / "results.json").read_text())
        answered = {row["selection"] for row in rows}
        assert {"random", "uniform", "max_response", "dsn_fixed", "dense", "oracle"} <= answered
    names = {
        path.name.rsplit("_", 1)[0]: path / "checkpoints" / "last.ckpt" for path in (tmp_path / "shared").iterdir()
    }
    given = [f"classifier.checkpoint={names['needle_r3d_tiny_M2_seed0']}",
             f"observation.checkpoint={names['needle_r2d_tiny_M2_seed0']}"]  # fmt: skip
    call("dsn-train", *arguments, *given, "M=2", "gamma=0.5", "N=2", "hydra.run.dir=by_path", cwd=tmp_path)
    assert_same_run(tmp_path / "sweep" / "1", tmp_path / "by_path")  # as if the paths had been given
