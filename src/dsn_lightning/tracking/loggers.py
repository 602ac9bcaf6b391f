"""Experiment tracking: W&B runs that need no account and always end with the true exit code, and TensorBoard."""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.evaluation.results import FIELDS
from dsn_lightning.files import write_atomically
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.exit_codes import STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM, exit_code_of
from dsn_lightning.runs.status import message_of
from dsn_lightning.runs.tolerant_files import read_text
from dsn_lightning.runs.wandb_account import choose_mode, project_name
from dsn_lightning.tracking.wandb_axes import EPOCH, STEP, ChartAxes
from dsn_lightning.tracking.wandb_tables import (
    WATCHED,
    ParameterHistograms,
    clip_table,
    confusion_plot,
    position_histogram,
)

ALERTS = ("collapse", "failure", "sweep")
"""What W&B can notify the user of."""
SWEEP_COLUMNS = ("job", "state", "exit_code", "overrides", "best_held_out", "test")
"""Columns of the table ``sweep/jobs``: best value of the held-out videos and value of the test, each in [0, 1]."""
_LONGEST_TITLE = 63  # characters of an alert's title


@dataclass(frozen=True)
class RunInfo:
    """Description of a run for its loggers."""

    folder: Path
    config: dict[str, Any]  # resolved, as plain dicts and lists
    job_type: str  # train or evaluate
    name: str  # readable, composed of the settings that a sweep varies
    tags: Sequence[str]  # algorithm, data set and backbone
    commit: str | None  # checked-out commit, with -dirty appended if files differ; None outside a checkout
    diff: str | None = None  # of the files that differ from the commit
    figures: Sequence[str] = ()  # names of those that the run is judged by
    one_of_many: bool = False  # a job of a sweep, or a training that several runs share: cannot have an id that is set


class Tracker:
    """The loggers of a run, possibly none, besides ``metrics.csv``."""

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers = list(loggers)

    @rank_zero_only
    def add_to_config(self, **facts: Any) -> None:
        """Add what is known only after the loggers have begun, as plain values, to the configuration in W&B."""
        for logger in self.loggers:
            if isinstance(logger, WandbRun):
                logger.experiment.config.update(facts, allow_val_change=True)

    @rank_zero_only
    def alert_collapse(self, text: str) -> None:
        """Send the alert that the policy has collapsed, where ``logger.wandb.alerts`` asks for it."""
        for logger in self.loggers:
            if isinstance(logger, WandbRun):
                logger.alert("collapse", "the policy has collapsed", text, level="WARN")

    @rank_zero_only
    def log_evaluation(self, evaluation: EvaluationDetails) -> None:
        """Log the figures of a test to all loggers; tables, clips and the confusion matrix to W&B."""
        figures = evaluation.figures()
        for logger in self.loggers:
            logger.log_metrics(figures, evaluation.step)
            if isinstance(logger, WandbRun):
                logger.log_evaluation(evaluation)

    def finish(self, exit_code: int, reason: str | None = None) -> None:
        """Finish all loggers, with the error that ended the run; a failing one must not hide why the run ended."""
        for logger in self.loggers:
            try:
                if isinstance(logger, WandbRun):
                    logger.finish(exit_code, reason)
                else:
                    logger.finalize("success" if exit_code == 0 else "failed")
            except Exception as error:
                print(printable(f"{type(logger).__name__}: could not be finished: {error}"), file=sys.stderr)


@contextmanager
def finishing(tracker: Tracker) -> Iterator[Tracker]:
    """Finish the loggers with the exit code that the process will have, however the block ends."""
    code, reason = 0, None
    try:
        yield tracker
    except BaseException as error:
        code, reason = exit_code_of(error), message_of(error)
        raise
    finally:
        in_main_thread = threading.current_thread() is threading.main_thread()
        ignored = (signal.SIGTERM, signal.SIGUSR2) if in_main_thread else ()  # the process is ending already
        signals = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        try:
            tracker.finish(code, reason)
        finally:
            for number, handler in signals.items():
                signal.signal(number, handler)


class WandbRun(WandbLogger):
    """One W&B run, with its files in ``<run folder>/wandb``.

    A resumed run continues under its id, which ``wandb_id.txt`` holds. Only global rank 0 logs.

    Args:
        info: description of the run.
        project: None: ``WANDB_PROJECT``, or else ``dsn_lightning``.
        entity: user or team; None: the account's default.
        group: the sweep; None: ``WANDB_RUN_GROUP``.
        name: None: ``WANDB_NAME``, or else that of ``info``.
        tags: added to those of ``info`` and of ``WANDB_TAGS``.
        id: of a new run; None: ``WANDB_RUN_ID``, or else a random one, as in all of ``one_of_many``. W&B's agents set
            that variable; the run that they ask for has their id in any case.
        notes: free text.
        log_model: True uploads ``last.ckpt`` (alias ``latest``) and ``best.ckpt`` (alias ``best``) as versions of the
            artifact ``model-ID`` when a training has ended well; ``all`` also each new best one during the training.
        save_code: upload this package's Python files as an artifact; None: as the user's W&B settings have it.
        watch: histograms in each epoch's row: ``gradients`` (of the epoch's first batch), ``parameters`` or ``all``.
        alerts: what W&B notifies the user of: ``collapse`` of the policy, ``failure`` (the run ends with an error, or
            after SIGTERM), ``sweep`` (the end of one).
        mode: ``online``, ``offline``, ``disabled``, or ``auto``: as the user's W&B settings have it, or else online
            where an account is set up and offline elsewhere.

    Raises:
        UsageError: ``online`` was requested and is not possible, or an option has a value that it does not know.
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
        id: str | None = None,
        notes: str | None = None,
        log_model: bool | str = False,
        save_code: bool | None = None,
        watch: str | None = None,
        alerts: Sequence[str] = (),
        mode: str = "auto",
    ) -> None:
        _check("log_model", log_model, (False, True, "all"))
        _check("save_code", save_code, (None, False, True))
        _check("watch", watch, (None, *WATCHED))
        for one in [alerts] if isinstance(alerts, str) else alerts:
            _check("alerts", one, ALERTS)
        super().__init__(
            project=project_name(project),
            save_dir=info.folder,
            group=group or os.environ.get("WANDB_RUN_GROUP"),
            job_type=info.job_type,
            entity=entity,
            name=name or os.environ.get("WANDB_NAME") or info.name,
            tags=[*info.tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(",")), *tags],
            notes=notes,
            log_model=log_model,  # type: ignore[arg-type]
            save_code=save_code,
        )
        self._wandb_init.pop("anonymous", None)  # W&B warns about it
        self._run = RunFolder(info.folder)
        self._alerts = [alerts] if isinstance(alerts, str) else list(alerts)
        self._histograms = ParameterHistograms(watch)
        self._process = os.getpid()
        self._step: int | None = None  # of the current row
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            given = os.environ.get("WANDB_RUN_ID")
            new = given or id if "WANDB_SWEEP_ID" in os.environ else id or given  # an agent waits for its id
            self._id = self._wandb_init["id"] = _stored_id(info.folder, None if info.one_of_many else new)
            with nullcontext() if self._id == given else _without_agent():
                self._experiment = self._start(info, requested=mode)
            self._axes = ChartAxes(self._experiment)
            self._row = self._experiment.starting_step - 1  # W&B's number of the current row

    def _start(self, info: RunInfo, *, requested: str) -> Any:
        mode = choose_mode(requested)
        folder = info.folder.absolute()
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))  # tables that await their upload
        if mode != "online":
            os.environ["WANDB_ERROR_REPORTING"] = "false"  # otherwise W&B contacts its server even offline
        import wandb  # takes seconds

        init = {**self._wandb_init, "dir": str(folder), "config": {**info.config, "git_commit": info.commit}}
        settings = wandb.Settings(
            silent=True,
            console="off",  # the terminal belongs to the progress bar
            disable_git=True,  # W&B would look at the checkout of the working folder
            git_commit=None if info.commit is None else info.commit.removesuffix("-dirty"),
            init_timeout=60,
            finish_timeout=300,
        )
        try:
            run = wandb.init(**init, mode=mode, settings=settings)  # type: ignore[arg-type]
        except (wandb.errors.Error, ValueError) as error:  # ValueError: invalid settings
            reason = " ".join(str(error).split())
            if mode != "online" or requested == "online":
                raise UsageError(f"logger.wandb.mode={requested}: W&B cannot start: {reason}") from error
            print(printable(f"W&B cannot be reached; this run is logged offline ({reason})"), file=sys.stderr)
            wandb.teardown(0)  # the run that could not start still holds the id
            os.environ["WANDB_ERROR_REPORTING"] = "false"
            run = wandb.init(**init, mode="offline", settings=settings)
        if run.settings.save_code:
            run.log_code(str(Path(__file__).parents[1]), name="source-dsn_lightning")
        if info.diff:
            patch = Path(run.dir, "diff.patch")  # the name that W&B's own programs look for
            write_atomically(patch, info.diff)
            run.save(str(patch), base_path=run.dir, policy="now")
        if not run.offline and run.url:
            print(f"W&B: {run.url}", file=sys.stderr)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures, and a histogram of the selected positions if their shares are among them.

        ``step`` is the number of batches seen in training: ``trainer/global_step``, and W&B's number of a row
        unless the run already has such a row. W&B ignores rows whose numbers decrease, and merges those of one number.
        """
        row = {**metrics, **position_histogram(metrics), **(self._histograms.of_epoch() if EPOCH in metrics else {})}
        if step is not None:
            row[STEP] = step
            if step != self._step:
                self._step, self._row = step, max(step, self._row + 1)
        self._axes.hide_best(row)
        self.experiment.log(row, step=max(self._row, 0))

    @rank_zero_only
    def log_graph(self, model: nn.Module, input_array: Tensor | None = None) -> None:
        """Follow the gradients and parameters of a training; Lightning calls this when it begins."""
        self._histograms.follow(model)

    @rank_zero_only
    def log_evaluation(self, evaluation: EvaluationDetails) -> None:
        """Log the rows of results, the confusion matrix and the selected clips of some videos."""
        import wandb

        rows = wandb.Table(columns=list(FIELDS), data=[list(row.values()) for row in evaluation.rows])
        name = evaluation.prefix
        content = {f"{name}/rows": rows, f"{name}/selected_clips": clip_table(evaluation)}
        self.log_metrics({**content, **confusion_plot(evaluation)}, evaluation.step)

    @rank_zero_only
    def log_sweep(self, jobs: Sequence[Sequence[Any]], counts: Mapping[str, int]) -> None:
        """Log the end of a sweep: its jobs as the table ``sweep/jobs``, counts of their states, and an alert.

        Args:
            jobs: the values of `SWEEP_COLUMNS` of each.
            counts: by what is counted, such as ``finished``.
        """
        import wandb

        table = wandb.Table(columns=list(SWEEP_COLUMNS), data=[list(job) for job in jobs])
        self.experiment.log({"sweep/jobs": table, **{f"sweep/{name}": count for name, count in counts.items()}})
        counted = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        best = max(((job[4], job[0]) for job in jobs if job[4] is not None), default=None)
        text = "" if best is None else f"; best of the held-out videos: {best[0]:.1%}, job {best[1]}"
        level = "INFO" if counts["finished"] == len(jobs) else "WARN"
        self.alert("sweep", "has ended", f"{len(jobs)} jobs: {counted}{text}", level=level)

    @rank_zero_only
    def alert(self, kind: str, title: str, text: str, *, level: str) -> None:
        """Let W&B notify the user, if ``alerts`` has the kind; an offline run does so when it is uploaded.

        Args:
            kind: one of `ALERTS`.
            title: the run's name is put in front of it.
            text: what has happened, and the remedy.
            level: ``INFO``, ``WARN`` or ``ERROR``.
        """
        if kind in self._alerts:
            short = f"{self.experiment.name}: {title}"
            self.experiment.alert(short[:_LONGEST_TITLE], f"{text}\n{self._run.path.absolute()}", level=level)

    @rank_zero_only
    def finish(self, exit_code: int, reason: str | None = None) -> None:
        """Finish the run with the exit code of the process, and with the error that ended it, for an alert."""
        run = self._experiment
        if run is None or os.getpid() != self._process:
            return
        if exit_code not in (0, STOPPED_BY_CTRL_C):
            stopped = exit_code == STOPPED_BY_SIGTERM
            what = "stopped by SIGTERM" if stopped else f"failed with exit code {exit_code}"
            self.alert("failure", what, reason or what, level="WARN" if stopped else "ERROR")
        if exit_code == 0 and self._log_model:
            self._log_checkpoints()
        self._experiment = None
        offline, folder = run.offline, Path(run.dir).parent
        run.finish(exit_code=exit_code)
        import wandb

        with suppress(SystemExit):
            wandb.teardown()  # otherwise W&B's process would outlive this one
        if offline and folder.is_dir():
            print(printable(f"W&B: offline run; upload it with: wandb sync {folder}"), file=sys.stderr)

    def _log_checkpoints(self) -> None:
        """Log what Lightning has not: the last checkpoint, and the best one of an earlier part of a resumed training.

        (Lightning knows only those that were saved in this process. W&B keeps one version of equal ones.)
        """
        import wandb

        self.finalize("success")  # which Lightning leaves out where max_time has ended the training
        logged = {Path(path).resolve() for path in self._logged_model_time}
        for alias, file in (("best", self._run.best_checkpoint), ("latest", self._run.last_checkpoint)):
            if file.is_file() and file.resolve() not in logged:  # an evaluation has none
                artifact = wandb.Artifact(f"model-{self.version}", type="model")
                artifact.add_file(str(file), name="model.ckpt")
                self.experiment.log_artifact(artifact, aliases=[alias])


class TensorBoardRun(TensorBoardLogger):
    """Event files in ``<run folder>/tensorboard``, with a session for the HParams tab.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, info: RunInfo) -> None:
        try:
            super().__init__(info.folder, name="tensorboard", version="", default_hp_metric=False)
            self._describe_session(info)
        except ModuleNotFoundError as error:
            remedy = "pip install 'dsn-lightning[tensorboard]'"
            raise UsageError(f"logger=tensorboard: TensorBoard is not installed; {remedy}") from error
        self.log_hyperparams({**info.config, "git_commit": info.commit})

    @rank_zero_only
    def _describe_session(self, info: RunInfo) -> None:
        """Write the columns of the HParams tab and the run's settings there; figures are looked up when it is shown.

        A resumed run writes them again, and TensorBoard takes those that it reads first.
        """
        from torch.utils.tensorboard.summary import hparams

        swept = {name: info.config[name] for name in ("M", "N", "gamma", "seed") if name in info.config}
        experiment, session, _ = hparams(swept, dict.fromkeys(info.figures))
        for summary in (experiment, session):
            self.experiment._get_file_writer().add_summary(summary)


@contextmanager
def _without_agent() -> Iterator[None]:
    """Start a run that is not the one that a W&B agent asks for; in an agent's sweep W&B ignores the run's own id."""
    sweep = os.environ.pop("WANDB_SWEEP_ID", None)
    try:
        yield
    finally:
        if sweep is not None:
            os.environ["WANDB_SWEEP_ID"] = sweep


def _check(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
        known = ", ".join({None: "null", True: "true", False: "false"}.get(one, one) for one in allowed)
        raise UsageError(f"logger.wandb.{name}={value}: must be {known}")


def _stored_id(folder: Path, new: str | None) -> str:
    file = RunFolder(folder).wandb_id
    if file.is_file():
        stored = read_text(file).strip()
        if not stored.isprintable() or not stored or "\ufffd" in stored:
            raise UsageError(f"{file}: expected the id of a W&B run; remove the file to begin another run in W&B")
        return stored
    run_id = new or uuid.uuid4().hex[:12]
    write_atomically(file, run_id + "\n")
    return run_id
