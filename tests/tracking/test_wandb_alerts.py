"""What W&B notifies the user of, and the run that a sweep logs at its end."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from dsn_lightning.cli.sweep_end import SweepStart, log_end, logged_end
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder
from dsn_lightning.tracking.loggers import ALERTS, RunInfo, Tracker, WandbRun, finishing
from dsn_lightning.training.callbacks import EpochLog
from dsn_lightning.training.learning_warnings import LearningWarnings
from helpers.processes import call
from helpers.training import fit, sure_of_clip_2
from helpers.wandb_files import WandbFile, read_all
from helpers.wandb_server import stand_in_server


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B's variables, which a run sets in its process, are restored."""
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))


def run_in(folder: Path, *alerts: str) -> WandbRun:
    return WandbRun(RunInfo(folder, {}, "train", "dsn needle", [], None), mode="offline", alerts=alerts)


def sent_by(found: WandbFile) -> list[tuple[str, str, str]]:
    return [(alert.level, alert.title, alert.text) for alert in found.alerts]


@pytest.mark.parametrize("alerts", [("collapse",), ()])
def test_a_collapse_is_an_alert_once_where_it_is_asked_for(alerts, tmp_path, capsys):
    tracker = Tracker([run_in(tmp_path, *alerts)])
    warnings = LearningWarnings(num_classes=3, store=lambda _: None, on_collapse=tracker.alert_collapse)
    fit(sure_of_clip_2(), epochs=2, callbacks=[EpochLog(), warnings])
    tracker.finish(0)
    (found,) = read_all(tmp_path)
    assert [sent[:2] for sent in sent_by(found)] == [("WARN", "dsn needle: the policy has collapsed")] * len(alerts)
    for _, _, text in sent_by(found):
        assert "in epoch 1 it keeps clip 2 in 100.0% of the sections" in text
        assert "algorithm.exploration=0.1" in text
        assert text.endswith(f"\n{tmp_path}")


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (None, []),
        (KeyboardInterrupt(), []),
        (UsageError("gamma=-1: must be at least 0"),
         [("ERROR", "dsn needle: failed with exit code 2", "gamma=-1: must be at least 0")]),
        (ValueError("shapes differ"), [("ERROR", "dsn needle: failed with exit code 1", "ValueError: shapes differ")]),
        (SystemExit(128 + signal.SIGTERM), [("WARN", "dsn needle: stopped by SIGTERM", "stopped by SIGTERM")]),
    ],
    ids=["finished", "Ctrl-C", "usage error", "exception", "SIGTERM"],
)  # fmt: skip
def test_a_failure_is_an_alert_with_its_reason(error, sent, tmp_path):
    def end() -> None:
        with finishing(Tracker([run_in(tmp_path, "failure")])):
            if error is not None:
                raise error

    if error is None:
        end()
    else:
        with pytest.raises(type(error)):
            end()
    (found,) = read_all(tmp_path)
    assert sent_by(found) == [(level, title, f"{text}\n{tmp_path}") for level, title, text in sent]


def test_an_offline_alert_is_sent_when_the_run_is_uploaded(tmp_path):
    run = run_in(tmp_path, "failure")
    run.finish(2, "gamma=-1: must be at least 0")
    with stand_in_server() as server:
        server.upload((tmp_path / "wandb").glob("offline-run-*"))
    (alert,) = server.alerts
    assert (alert["severity"], alert["title"]) == ("ERROR", "dsn needle: failed with exit code 2")
    assert alert["text"] == f"gamma=-1: must be at least 0\n{tmp_path}"
    assert [*server.runs] == [alert["runName"]] == [(tmp_path / "wandb_id.txt").read_text().strip()]


def test_other_alerts_are_refused_and_one_needs_no_list(tmp_path):
    with pytest.raises(UsageError, match=r"^logger.wandb.alerts=end: must be collapse, failure, sweep$"):
        run_in(tmp_path, "collapse", "end")
    run = WandbRun(RunInfo(tmp_path, {}, "train", "name", [], None), mode="offline", alerts="failure")
    run.alert("collapse", "title", "text", level="INFO")
    run.finish(1)
    (found,) = read_all(tmp_path)
    assert [title for _, title, _ in sent_by(found)] == ["name: failed with exit code 1"]


@pytest.fixture
def logged_sweep(small_sweep: Path, tmp_path: Path) -> SweepFolder:
    """A sweep of two good and two failed jobs, as if they had been logged to W&B."""
    folder = tmp_path / "my_sweep"
    shutil.copytree(small_sweep, folder)
    node = {"_target_": "dsn_lightning.tracking.WandbRun", "mode": "offline", "alerts": [*ALERTS], "tags": ["mine"]}
    for job in range(4):
        file = RunFolder(folder / str(job)).composed_yaml
        composed = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(composed | {"logger": {"wandb": node | {"id": "no", "log_model": True}}}))
    return SweepFolder(folder)


def test_the_end_of_a_sweep_is_a_run_with_its_jobs_and_an_alert(logged_sweep):
    log_end(logged_sweep)
    log_end(logged_sweep)  # as after sweep.resume
    first, second = read_all(logged_sweep.path)
    assert first.run.run_id == second.run.run_id != "no"
    assert (first.run.job_type, first.run.run_group, first.run.display_name) == ("sweep", "my_sweep", "sweep my_sweep")
    assert list(first.run.tags) == ["mine"]
    assert first.exit_code == 1
    assert first.artifacts[0].type != "model"
    assert {"M", "N", "gamma"}.isdisjoint(first.config)
    rows = first.table("sweep/jobs")
    assert [row["state"] for row in rows] == ["done", "done", "failed", "failed"]
    assert [row["job"] for row in rows] == ["0 gamma=0.5 seed=0", "1 gamma=0.5 seed=1", "2 gamma=-1 seed=0",
                                            "3 gamma=-1 seed=1"]  # fmt: skip
    assert all("schedule.max_epochs=2" in row["overrides"].split() for row in rows)
    assert [row["exit_code"] for row in rows] == [0, 0, 2, 2]
    for job, row in enumerate(rows[:2]):
        results = json.loads((logged_sweep.path / str(job) / "results.json").read_text())
        progress = json.loads((logged_sweep.path / str(job) / "progress.json").read_text())
        assert row["test"] == next(line["top1"] for line in results if line["selection"] == "dsn")
        assert row["best_held_out"] == pytest.approx(progress["best_value"])
    assert [row["test"] for row in rows[2:]] == [row["best_held_out"] for row in rows[2:]] == [None, None]
    assert (first.summary["sweep/finished"], first.summary["sweep/failed"]) == (2, 2)
    ((level, title, text),) = sent_by(first)
    best = max(rows[:2], key=lambda row: (row["best_held_out"], row["job"]))
    assert (level, title) == ("WARN", "sweep my_sweep: has ended")
    assert text.startswith("4 jobs: 2 finished, 2 failed; best of the held-out videos: ")
    assert f"{best['best_held_out']:.1%}, job {best['job']}\n" in text


@pytest.mark.parametrize("why", ["not logged", "another logger", "not ended", "damaged"])
def test_no_other_sweep_is_logged(why, logged_sweep, capsys):
    for job in range(4):
        file = RunFolder(logged_sweep.path / str(job)).composed_yaml
        composed = yaml.safe_load(file.read_text())
        if why == "not logged":
            composed["logger"] = {}
        elif why == "another logger":
            composed["logger"]["wandb"]["_target_"] = "my_package.Logger"
        elif why == "damaged":
            composed["logger"]["wandb"]["mode"] = ["offline"]
        file.write_text(yaml.safe_dump(composed))
    if why == "not ended":
        content = json.loads(logged_sweep.sweep_json.read_text())
        content["jobs"][3]["state"] = "waiting"
        logged_sweep.sweep_json.write_text(json.dumps(content))
    log_end(logged_sweep)
    assert not (logged_sweep.path / "wandb").exists()
    lines = capsys.readouterr().err.splitlines()
    assert [line[:45] for line in lines] == ["W&B: the end of the sweep could not be logged"] * (why == "damaged")


@pytest.mark.parametrize(("code", "is_logged"), [(130, False), (143, False), (1, True)])
def test_a_sweep_that_was_stopped_has_not_ended(code, is_logged, logged_sweep, monkeypatch):
    monkeypatch.setattr(SweepStart, "folder", None)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(logged_sweep.path)}}})

    @logged_end()
    def command() -> None:
        SweepStart().on_multirun_start(config)
        sys.exit(code)

    with pytest.raises(SystemExit, match=str(code)):
        command()
    assert len(read_all(logged_sweep.path)) == is_logged


def test_a_sweep_whose_jobs_fail_logs_its_end(tmp_path):
    call("dsn-train", "-m", "gamma=-1", "logger=wandb", "logger.wandb.mode=offline", "logger.wandb.alerts=[sweep]",
         "hydra.sweep.dir=my_sweep", cwd=tmp_path, expect=1)  # fmt: skip
    (found,) = read_all(tmp_path / "my_sweep")
    assert (found.summary["sweep/finished"], found.summary["sweep/failed"]) == (0, 1)
    assert found.run.run_group == "my_sweep"
    assert [sent[:2] for sent in sent_by(found)] == [("WARN", "sweep my_sweep: has ended")]
