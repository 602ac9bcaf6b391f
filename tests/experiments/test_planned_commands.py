"""Planned commands: what is finished, and what waits for it."""

from rich.console import Console

from dsn_lightning.launch.jobs import Job, run_jobs
from reproduce.commands import TRAIN, Command


def test_no_command_follows_a_training_that_stopped_early(tmp_path, capsys):
    a = Command("a", TRAIN, (), tmp_path / "a", "0")
    assert a.job().is_whole is not None
    assert not a.job().is_whole()
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "a" / "status.json").write_text('{"format": 1, "state": "finished"}')
    assert not a.job().is_whole()  # stopped in its first epoch
    (tmp_path / "a" / "progress.json").write_text('{"epoch": 2, "max_epochs": 2, "seconds_per_epoch": 1}')
    assert a.job().is_whole()
    (tmp_path / "a" / "progress.json").write_text('{"epoch": 1, "max_epochs": 2, "seconds_per_epoch": 1}')
    jobs = [
        Job("a", print, ("x",), tmp_path / "a", is_whole=a.job().is_whole),
        Job("b", print, ("y",), tmp_path / "b", after=("a",)),
        Job("c", print, ("z",), tmp_path / "c", is_whole=lambda: True),
    ]
    assert run_jobs(jobs, at_once=1, console=Console(width=120)) == jobs[:2]
    assert [job.state for job in jobs] == ["stopped", "skipped", "done"]
    assert "a: stopped by its time limit" in capsys.readouterr().out
    assert not (tmp_path / "b").exists()
