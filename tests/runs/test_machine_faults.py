"""Faults of the machine are told from bugs, by the errors that really come."""

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.errors import UsageError
from dsn_lightning.files import remove_leftovers, write_json
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.machine_faults import fault_of
from dsn_lightning.runs.status import recorded_status
from dsn_lightning.training.checkpoints import AtomicCheckpointIO


def error_of(call) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        call()
    return caught.value


@pytest.fixture
def small_files():
    """Files of this process may have 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Dies(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), 9)
        return index


def test_a_killed_loader_process_is_a_fault():
    error = error_of(lambda: list(DataLoader(Dies(), num_workers=1)))
    assert "a data loader process has died (pid " in str(fault_of(error))


class HasNoRoom(Dies):
    def __getitem__(self, index: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files", "a.mp4")


def test_a_fault_in_a_loader_process_keeps_its_remedy():
    error = error_of(lambda: list(DataLoader(HasNoRoom(), num_workers=1)))
    assert str(fault_of(error)) == (
        "Too many open files: 'a.mp4'; raise the limit on open files (ulimit -n), or lower num_workers"
    )


def test_too_large_a_tensor_is_a_fault():
    error = error_of(lambda: torch.empty(2**58, dtype=torch.uint8))
    assert "out of memory (tried to allocate 288230376151711744 bytes); lower" in str(fault_of(error))
    on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of")
    assert "out of memory (tried to allocate 2.00 GiB); lower" in str(fault_of(on_gpu))
    assert "out of memory" in str(fault_of(MemoryError()))


@pytest.mark.usefixtures("small_files")
def test_a_checkpoint_without_room_is_a_fault_and_leaves_no_file(tmp_path):
    def save():
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "last.ckpt")

    assert "go on" in str(fault_of(error_of(save)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_a_file_without_room_keeps_the_old_one_and_leaves_no_other(tmp_path):
    write_json(tmp_path / "a.json", "old")
    error = error_of(lambda: write_json(tmp_path / "a.json", "x" * 100_000))
    assert str(fault_of(error)) == "File too large; raise the limit on the size of a file (ulimit -f), then go on"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", '"old"\n')]


def test_the_cause_counts_and_a_bug_stays_a_bug():
    def raise_from_full():
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "run/.metrics.csv.12")
        except OSError as error:
            raise RuntimeError("could not save") from error

    assert str(fault_of(error_of(raise_from_full))) == "run: No space left on device; free some space, then go on"
    for bug in (RuntimeError("shapes differ"), KeyError("M"), FileNotFoundError(errno.ENOENT, "No such file", "x")):
        assert fault_of(bug) is None


def test_a_command_prints_a_fault_in_one_line_and_a_bug_with_its_traceback(capsys):
    with pytest.raises(SystemExit) as stopped, one_line_errors("dsn-train"):
        raise OSError(errno.EROFS, "Read-only file system", "run/status.json")
    assert stopped.value.code == 2
    expected = "dsn-train: error: run/status.json: Read-only file system; choose a folder that can be written to\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(KeyError), one_line_errors("dsn-train"):
        raise KeyError("a bug")


def test_a_full_disk_is_in_the_status(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(OSError, match="No space"), recorded_status(run):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "metrics.csv"))
    status = run.status()
    assert (status["state"], status["exit_code"]) == ("failed", 2)
    assert status["error"] == f"{tmp_path / 'metrics.csv'}: No space left on device; free some space, then go on"


def test_the_status_is_written_where_a_second_file_has_no_room(tmp_path):
    run, in_the_way = RunFolder(tmp_path), tmp_path / f".status.json.{os.getpid()}.json"

    def fail():
        in_the_way.mkdir()
        raise UsageError("gamma=-1")

    with pytest.raises(UsageError), recorded_status(run):
        fail()
    assert run.status()["state"] == "failed"


def test_a_status_that_cannot_be_written_is_said_and_the_reason_stays(tmp_path, capsys):
    run = RunFolder(tmp_path)

    def fail():
        run.status_json.unlink()
        run.status_json.mkdir()
        raise UsageError("gamma=-1")

    with pytest.raises(UsageError, match="gamma=-1"), recorded_status(run):
        fail()
    assert f'{run.status_json}: still says "running": it cannot be written' in capsys.readouterr().err


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = [".lock", ".hydra/config.yaml", "metrics.csv", "checkpoints/last.ckpt", ".hidden"]
    left = [".metrics.csv.123.csv", ".status.json.7.json", ".wandb_id.txt.8", "checkpoints/.last.ckpt.partial"]
    for name in (*kept, *left):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    remove_leftovers(tmp_path)
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {Path(name) for name in kept}
