"""The checkpoint that a training goes on from: whole, and of the run in the folder."""

import secrets
import sys
from typing import Any

from dsn_lightning.backbones.weights import WeightsError, read_weights
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import training_fingerprint
from dsn_lightning.config.trained import RECORD_KEY, check_record
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import keep_as, write_atomically
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_text

START_AGAIN = "put a copy of it back, or train again: the run's command with overwrite=true moves this folder aside"


def new_run_id(run: RunFolder) -> None:
    """Give the run that begins in a folder a name of its own, which its checkpoints will hold."""
    write_atomically(run.run_id, secrets.token_hex(8) + "\n")


def run_id_of(run: RunFolder) -> str | None:
    """Return the name of the run in a folder; None if the file is gone."""
    return read_text(run.run_id).strip() or None


def content_to_resume(settings: Settings) -> dict[str, Any] | None:
    """Return the content of the checkpoint that a resumed training goes on from; None where none was written yet.

    If the last checkpoint cannot be read, the one before takes its place. What happens is said on stderr.

    Raises:
        UsageError: no checkpoint can be read, or it is of another run or another configuration than the folder's.
    """
    run = RunFolder(settings.folder)
    if not run.was_saved():
        _say(f"resume={run.path}: there is no checkpoint yet; the training starts from its beginning")
        return None
    content = _last_or_previous(run)
    _check_is_of(settings, content.get(RECORD_KEY))
    return content


def _last_or_previous(run: RunFolder) -> dict[str, Any]:
    last, previous, where = run.last_checkpoint, run.previous_checkpoint, f"resume={run.path}"
    try:
        return read_weights(last)
    except WeightsError as error:
        if not previous.is_file():
            epochs = f", although {run.num_epochs()} epochs ended" if run.num_epochs() else ""
            raise UsageError(f"{where}: {last}: {error}{epochs}; {START_AGAIN}") from error
        reason = str(error)
    try:
        content = read_weights(previous)
    except WeightsError as error:
        raise UsageError(f"{where}: {last}: {reason}; {previous.name}: {error}; {START_AGAIN}") from error
    _say(f"{where}: {last.name}: {reason}; goes on from {previous.name}, which was written before it")
    if process_rank() == 0:
        keep_as(previous, last)
    return content


def _check_is_of(settings: Settings, record: Any) -> None:
    """Refuse a checkpoint's record that is not of the run in the folder."""
    run = RunFolder(settings.folder)
    where = f"resume={run.path}: {run.last_checkpoint.name}"
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise UsageError(f"{where}: not a checkpoint of dsn-train; {START_AGAIN}")
    check_record(record, where=where)
    expected, found = run_id_of(run), record.get("run_id")
    if expected is not None and found != expected:
        raise UsageError(f"{where}: expected a checkpoint of run {expected}, got {found}; {START_AGAIN}")
    try:
        same = training_fingerprint(Settings.of(record["config"])) == training_fingerprint(settings)
    except (UsageError, KeyError, TypeError, AttributeError):  # the configuration of another version
        same = False
    if not same:
        raise UsageError(
            f"{where}: its configuration is not that of {run.config_yaml.name}; put back the files of one run, or "
            f"{START_AGAIN.partition(', or ')[2]}"
        )


def _say(line: str) -> None:
    if process_rank() == 0:
        print(printable(line), file=sys.stderr, flush=True)
