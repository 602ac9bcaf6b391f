"""A search: a sweep whose jobs are chosen one after the other, by the values of those before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import Job, run_jobs
from dsn_lightning.launch.objectives import Objective, missing_value, values_of
from dsn_lightning.launch.sweep import RunJob, check_at_once, show_failures, show_results, sweep_console
from dsn_lightning.launch.trial_study import TrialStudy
from dsn_lightning.runs.exit_codes import sigterm_as_exit
from dsn_lightning.runs.search_plan import SearchPlan
from dsn_lightning.runs.status import record_pruned
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob, SweepRecord
from dsn_lightning.text_tables import PrintableConsole, TextTable, csv_text

Parameters = Mapping[str, Any]
PlanTrial = Callable[[int, Parameters], SweepJob]
"""Composes the job of a trial, called with its number and parameters, and writes what the job starts from."""


def run_search(
    sweep: SweepFolder,
    plan: SearchPlan,
    objectives: Sequence[Objective],
    plan_trial: PlanTrial,
    run_job: RunJob,
    *,
    at_once: int,
    preload: Sequence[str] = (),
) -> list[Job]:
    """Run the trials of a search that are missing, and return the jobs of all; each is recorded at every moment.

    Finished trials are kept, also failed and pruned ones; an interrupted one is continued. A folder that is in use is
    refused.

    Args:
        sweep: its folder.
        plan: what is searched.
        objectives: the figures of ``plan.metric``.
        plan_trial: makes the job of a trial.
        run_job: importable function that runs a job, or continues it.
        at_once: how many run at the same time.
        preload: modules that every job needs.
    """
    check_at_once(at_once)
    console = sweep_console()
    with sigterm_as_exit(), sweep.hold():
        study = TrialStudy(sweep.search_journal, plan, objectives, at_once=at_once)
        search = _Search(sweep, plan, study, plan_trial, run_job, console)
        count = max(1, min(at_once, plan.trials))
        try:
            run_jobs(
                search.jobs,
                at_once=count,
                console=console,
                on_change=search.record,
                attend=lambda: search.attend(count),
                preload=preload,
            )
        except KeyboardInterrupt:
            console.print(f"stopped; sweep.resume={sweep.path} continues it", soft_wrap=True, markup=False)
            raise
        search.record()
    show_results(sweep, search.jobs, console)
    _show_best(sweep, study, console)
    failed = [job for job in search.jobs if job.state == "failed"]
    remedy = f"they count as trials; sweep.resume={sweep.path} sweep.trials=NUMBER tries more"
    show_failures(failed, remedy, console)
    return search.jobs


class _Search:
    """The jobs of a search, which follow its study."""

    def __init__(
        self,
        sweep: SweepFolder,
        plan: SearchPlan,
        study: TrialStudy,
        plan_trial: PlanTrial,
        run_job: RunJob,
        console: PrintableConsole,
    ) -> None:
        self.sweep = sweep
        self.plan = plan
        self.study = study
        self.plan_trial = plan_trial
        self.run_job = run_job
        self.console = console
        self.entries: list[SweepJob] = []
        self.jobs: list[Job] = []
        recorded = sweep.read().jobs
        if len(recorded) > len(study.trials()):
            raise UsageError(f"{sweep.search_journal}: expected {len(recorded)} trials, got {len(study.trials())}")
        for trial, state in zip(study.trials(), study.states(), strict=True):
            known = recorded[trial.number] if trial.number < len(recorded) else None  # killed before it was recorded
            self._add(trial.number, trial.params, known, state)
        self.record()

    def _add(self, number: int, parameters: Parameters, known: SweepJob | None, state: str) -> None:
        """Add the job of a trial; ``state`` is what the study knows of it, ``known`` what the sweep's record does."""
        entry = known or self.plan_trial(number, parameters)
        run = self.sweep.run(entry)
        job = Job(_name(number, parameters), self.run_job, (str(run.path), str(self.sweep.path)), run.path)
        job.exit_code = entry.exit_code
        if state in ("done", "failed", "pruned"):
            job.state = state
        elif entry.state in ("done", "failed"):  # killed before the study knew
            job.state = entry.state
        job.is_pruned = job.state == "pruned"
        if job.is_pruned:
            record_pruned(run)
        self.entries.append(entry)
        self.jobs.append(job)

    def attend(self, at_once: int) -> None:
        """Take the values of trials that run or have ended, and begin new ones while fewer than ``at_once`` run."""
        states = self.study.states()
        for number, job in enumerate(self.jobs):
            if states[number] == "running":
                self._follow(number, job)
            elif job.state == "pruned" and self.sweep.run(self.entries[number]).state() == "stopped":
                record_pruned(self.sweep.run(self.entries[number]))
        while len(self.jobs) < self.plan.trials and self._num_open() < at_once:
            parameters = self.study.ask()
            self._add(len(self.jobs), parameters, None, "running")
            self.record()

    def _num_open(self) -> int:
        return sum(job.state in ("waiting", "running") for job in self.jobs)

    def _follow(self, number: int, job: Job) -> None:
        run = self.sweep.run(self.entries[number])
        if job.state == "failed":
            self.study.finish(number, None)
        elif job.state == "done":
            if missing := missing_value(self.study.objectives, run):
                self.console.print(f"{job.name}: {missing}; it counts as failed", soft_wrap=True, markup=False)
                job.state = "failed"
            found = values_of(self.study.objectives, run)
            self.study.finish(number, [found] if isinstance(found, float) else found)
        elif job.state == "running" and self.plan.pruner != "none":
            total = run.progress().get("max_epochs", 0)
            judged = range(total // 4, total - 1)  # the first epochs say little; a training that is over is tested
            history = {e: value for e, value in self.study.objectives[0].history(run).items() if e in judged}
            if self.study.report(number, history):
                self.study.prune(number)
                job.is_pruned = True

    def record(self) -> None:
        """Write ``sweep.json`` and ``trials.csv``."""
        pairs = zip(self.entries, self.jobs, strict=True)
        self.entries = [replace(entry, state=job.state, exit_code=job.exit_code) for entry, job in pairs]
        self.sweep.write(SweepRecord(self.entries))
        rows = [row | {"folder": entry.folder} for row, entry in zip(self.study.rows(), self.entries, strict=True)]
        write_atomically(self.sweep.trials_csv, csv_text(rows) if rows else "")


def _name(number: int, parameters: Parameters) -> str:
    """Return what a job is called.

    >>> _name(2, {"M": 3, "gamma": 0.123456789})
    '2 M=3 gamma=0.1235'
    """
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in parameters.items()}
    return " ".join([str(number), *(f"{key.lstrip('+')}={value}" for key, value in shown.items())])


def _show_best(sweep: SweepFolder, study: TrialStudy, console: PrintableConsole) -> None:
    """Print the best trial, or the Pareto frontier."""
    names = [objective.name for objective in study.objectives]
    best = sorted((row for row in study.rows() if row["on_frontier"]), key=lambda row: row[names[-1]])
    rows = [
        [_name(row["trial"], study.trials()[row["trial"]].params), *(f"{row[name]:.4g}" for name in names)]
        for row in best
    ]
    titles = [f"{o.name} ({'higher' if o.is_maximized else 'lower'} is better)" for o in study.objectives]
    if rows:
        title = "best trial" if len(rows) == 1 else "best trials"
        if len(names) > 1:
            title = "Pareto frontier: no other trial is better in all figures"
        TextTable(["trial", *titles], rows, title=title, fold=True).print(console)
    console.print(f"written: {sweep.trials_csv}", soft_wrap=True, markup=False, highlight=False)
