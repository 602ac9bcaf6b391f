"""Experiment tracking: W&B runs that need no account and always end with their true exit code; TensorBoard."""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.evaluation.results import FIELDS
from dsn_lightning.files import write_atomically
from dsn_lightning.runs.exit_codes import exit_code_of
from dsn_lightning.tracking.wandb_account import choose_mode, setting
from dsn_lightning.tracking.wandb_tables import clip_table, confusion_plot, position_histogram

_PROJECT = "dsn_lightning"


@dataclass(frozen=True)
class RunInfo:
    """What every logger is told of a run.

    Attributes:
        folder: the run's.
        config: resolved, as plain dicts and lists.
        job_type: ``train`` or ``evaluate``.
        name: readable, made of the settings that a sweep varies.
        tags: what it is made of.
        commit: of the package's checkout, ``-dirty`` behind it if files differ; None outside a checkout.
    """

    folder: Path
    config: dict[str, Any]
    job_type: str
    name: str
    tags: Sequence[str]
    commit: str | None


class Tracker:
    """The loggers of a run besides metrics.csv; there may be none."""

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers = list(loggers)

    @rank_zero_only
    def log_evaluation(self, evaluation: EvaluationDetails) -> None:
        """Log the test figures everywhere, and tables, clips and confusions to W&B."""
        figures = evaluation.figures()
        for logger in self.loggers:
            logger.log_metrics(figures, evaluation.step)
            if isinstance(logger, WandbRun):
                logger.log_evaluation(evaluation)

    def finish(self, exit_code: int) -> None:
        """End all loggers; none of them may hide what ended the run."""
        for logger in self.loggers:
            try:
                if isinstance(logger, WandbRun):
                    logger.finish(exit_code)
                else:
                    logger.finalize("success" if exit_code == 0 else "failed")
            except Exception as error:
                print(f"{type(logger).__name__}: could not be ended: {error}", file=sys.stderr)


@contextmanager
def finishing(tracker: Tracker) -> Iterator[Tracker]:
    """End the tracker's loggers with the exit code that the process will have, however the block ends."""
    code = 0
    try:
        yield tracker
    except BaseException as error:
        code = exit_code_of(error)
        raise
    finally:
        if threading.current_thread() is threading.main_thread():  # what asks this process to end finds it ending
            signals = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGUSR2)}
        else:
            signals = {}
        try:
            tracker.finish(code)
        finally:
            for number, handler in signals.items():
                signal.signal(number, handler)


class WandbRun(WandbLogger):
    """One W&B run; its files lie in ``<run folder>/wandb``.

    A run that is resumed goes on under its id, which stands in ``wandb_id.txt``. Only global rank 0 logs.

    Args:
        info: what the run is.
        project: None takes ``WANDB_PROJECT``, or else ``dsn_lightning``.
        entity: user or team; None takes the account's.
        group: the sweep.
        name: None makes one of the configuration.
        tags: besides those made of the configuration.
        notes: a text.
        mode: ``auto`` is on-line where an account is set up, unless the user's W&B settings say otherwise, and
            off-line elsewhere; ``online``, ``offline``, ``disabled``.

    Raises:
        UsageError: ``online`` is asked for and cannot be had.
    """

    def __init__(
        self,
        info: RunInfo,
        *,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        notes: str | None = None,
        mode: str = "auto",
    ) -> None:
        project = project or setting("project") or _PROJECT
        super().__init__(project=project, save_dir=info.folder, group=group, job_type=info.job_type, entity=entity,
                         name=name or info.name, tags=[*info.tags, *tags], notes=notes)  # fmt: skip
        self._wandb_init.pop("anonymous", None)  # W&B warns of it
        self._process = os.getpid()
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self._id = self._wandb_init["id"] = _kept_id(info.folder)
            self._experiment = self._start(info, wanted=mode)

    def _start(self, info: RunInfo, *, wanted: str) -> Any:
        mode = choose_mode(wanted)
        folder = info.folder.absolute()
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))  # tables that wait for their upload
        if mode != "online":
            os.environ["WANDB_ERROR_REPORTING"] = "false"  # or W&B calls home even off-line
        import wandb  # seconds, and only where it is wanted

        init = {**self._wandb_init, "dir": str(folder), "config": {**info.config, "git_commit": info.commit}}
        settings = wandb.Settings(
            silent=True,
            console="off",  # the terminal belongs to the progress bar
            disable_git=True,  # it would look at the working folder's checkout
            git_commit=None if info.commit is None else info.commit.removesuffix("-dirty"),
            init_timeout=60,
            finish_timeout=300,
        )
        try:
            run = wandb.init(**init, mode=mode, settings=settings)  # type: ignore[arg-type]
        except (wandb.errors.Error, ValueError) as error:  # the second is of settings that are none
            reason = " ".join(str(error).split())
            if mode != "online" or wanted == "online":
                raise UsageError(f"logger.wandb.mode={wanted}: W&B cannot start: {reason}") from error
            print(f"W&B cannot be reached, so this run is off-line ({reason})", file=sys.stderr)
            wandb.teardown(0)  # what could not start still holds the id
            os.environ["WANDB_ERROR_REPORTING"] = "false"
            run = wandb.init(**init, mode="offline", settings=settings)
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        if not run.offline and run.url:
            print(f"W&B: {run.url}", file=sys.stderr)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures, and a histogram of selected positions where their shares are among them.

        W&B's own step follows the training's, so that off-line parts of a resumed run continue each other.
        """
        run = self.experiment
        row = {**metrics, **position_histogram(metrics)}
        if step is not None:
            row["trainer/global_step"] = step
        run.log(row, step=max(step or 0, run.step))

    @rank_zero_only
    def log_evaluation(self, evaluation: EvaluationDetails) -> None:
        """Log the test rows, the confusion matrix and the clips that are kept of some videos."""
        import wandb

        rows = wandb.Table(columns=list(FIELDS), data=[list(row.values()) for row in evaluation.rows])
        name = evaluation.prefix
        content = {f"{name}/rows": rows, f"{name}/selected_clips": clip_table(evaluation)}
        self.log_metrics({**content, **confusion_plot(evaluation)}, evaluation.step)

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """End the run with the process's exit code."""
        run = self._experiment
        if run is None or os.getpid() != self._process:
            return
        self._experiment = None
        offline, folder = run.offline, Path(run.dir).parent
        run.finish(exit_code=exit_code)
        import wandb

        with suppress(SystemExit):
            wandb.teardown()  # W&B's own process ends here and not some time after this one
        if offline and folder.is_dir():
            print(f"W&B: off-line run; to upload it: wandb sync {folder}", file=sys.stderr)


class TensorBoardRun(TensorBoardLogger):
    """Event files in ``<run folder>/tensorboard``.

    Args:
        info: what the run is.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, info: RunInfo) -> None:
        try:
            super().__init__(info.folder, name="tensorboard", version="", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise UsageError(
                "logger=tensorboard: TensorBoard is not installed; pip install 'dsn-lightning[tensorboard]'"
            ) from error
        self.log_hyperparams({**info.config, "git_commit": info.commit})


def _kept_id(folder: Path) -> str:
    file = folder / "wandb_id.txt"
    if file.is_file():
        return file.read_text().strip()
    run_id = uuid.uuid4().hex[:12]
    write_atomically(file, run_id + "\n")
    return run_id
