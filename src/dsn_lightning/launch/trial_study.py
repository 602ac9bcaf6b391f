"""The trials of a search, kept by Optuna in the sweep's folder.

Optuna's journal is a file to which each step is appended. It needs no database, can be read while a search runs, also
by optuna-dashboard, and holds the finished trials whenever the search is killed.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsn_lightning.errors import UsageError
from dsn_lightning.files import parse_json
from dsn_lightning.launch.objectives import Objective
from dsn_lightning.runs.search_plan import SearchPlan
from dsn_lightning.runs.wandb_files import is_number

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SAMPLERS = ("random", "tpe")
"""Values of ``sweep.sampler`` that need Optuna."""
PRUNERS = ("none", "median")
_STARTUP = 5
"""Trials before tpe learns from them, and before the median pruner compares with them."""
_BEGINNING, _PARAMETER = 4, 5
"""Steps in Optuna's journal: a trial begins, and gets one of its parameters."""
_STATES = {"COMPLETE": "done", "FAIL": "failed", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}


def require_optuna(sampler: str) -> None:
    """Raise `UsageError` if the extra is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"sweep.sampler={sampler}: needs the package optuna: pip install 'dsn-lightning[search]'"
        ) from error


class TrialStudy:
    """The trials of a search: proposes the parameters of the next one, and takes the values of those that ended.

    With the same ``sweep.seed``, and one job at a time, the proposals are the same, also after a kill: those of a trial
    depend on its number and on the trials before it.

    Args:
        journal: file of the journal; a search that it holds goes on.
        plan: what is searched.
        objectives: what the values are.
        at_once: trials that run at the same time.

    Raises:
        UsageError: the journal is damaged.
    """

    def __init__(self, journal: Path, plan: SearchPlan, objectives: Sequence[Objective], *, at_once: int) -> None:
        require_optuna(plan.sampler)
        self.journal = journal
        self.plan = plan
        self.objectives = objectives
        self.at_once = at_once
        with _quiet(), _readable(journal):
            import optuna
            from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

            self.distributions = {
                name: optuna.distributions.json_to_distribution(text) for name, text in plan.space.items()
            }
            _remove_rest_of_a_killed_search(journal, num_parameters=len(plan.space))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP)
            self.study: Study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal), JournalFileOpenLock(str(journal)))),
                study_name="search",
                directions=["maximize" if objective.is_maximized else "minimize" for objective in objectives],
                pruner=pruner if plan.pruner == "median" else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            self._check()

    def _check(self) -> None:
        """Raise ValueError if the journal contains what no trial of this search can have."""
        expected = [objective.is_maximized for objective in self.objectives]
        if [direction.name == "MAXIMIZE" for direction in self.study.directions] != expected:
            raise ValueError("its figures are not those of the search")
        for trial in self.trials():
            values, judged = trial.values or (), trial.intermediate_values
            if trial.distributions != self.distributions:
                raise ValueError(f"the parameters of trial {trial.number} are not those of the search")
            if not all(map(is_number, [*values, *judged.values()])) or not all(type(epoch) is int for epoch in judged):
                raise ValueError(f"trial {trial.number} has a value that is not a finite number")
            if trial.state.name == "COMPLETE" and len(values) != len(expected):
                raise ValueError(f"trial {trial.number} has {len(values)} values, expected {len(expected)}")

    def trials(self) -> list["FrozenTrial"]:
        """Return all trials, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def states(self) -> list[str]:
        """Return the state of each trial, as jobs have them; that of an interrupted one is ``running``."""
        return [_STATES[trial.state.name] for trial in self.trials()]

    def ask(self) -> dict[str, Any]:
        """Begin a trial and return its parameters."""
        with _quiet(), _readable(self.journal):
            self.study.sampler = self._sampler(len(self.trials()))
            return dict(self.study.ask(self.distributions).params)

    def _sampler(self, number: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self.plan.seed, number]).generate_state(1)[0])
        if self.plan.sampler == "random":
            return RandomSampler(seed=seed)
        return TPESampler(n_startup_trials=_STARTUP, seed=seed, constant_liar=self.at_once > 1)

    def report(self, number: int, values: Mapping[int, float]) -> bool:
        """Add the values of further epochs of a trial; return whether the pruner ends it.

        Whoever gets True must `prune` the trial.
        """
        import optuna

        trial = self.trials()[number]
        further = sorted(epoch for epoch in values if epoch not in trial.intermediate_values)
        with _quiet():
            running = optuna.trial.Trial(self.study, trial._trial_id) if further else None
            for epoch in further:
                assert running is not None
                running.report(values[epoch], epoch)
                if running.should_prune():
                    return True
        return False

    def prune(self, number: int) -> None:
        """Record that the pruner has ended a trial."""
        self._tell(number, None, "PRUNED")

    def finish(self, number: int, values: Sequence[float] | None) -> None:
        """Record the values of a trial that has ended; None if it has failed."""
        self._tell(number, values, "FAIL" if values is None else "COMPLETE")

    def _tell(self, number: int, values: Sequence[float] | None, state: str) -> None:
        from optuna.trial import TrialState

        with _quiet():
            self.study.tell(number, None if values is None else list(values), state=TrialState[state])

    def frontier(self) -> list[int]:
        """Return the numbers of the trials that no other is better than: the best one, or a Pareto frontier."""
        return sorted(trial.number for trial in self.study.best_trials)

    def rows(self) -> list[dict[str, Any]]:
        """Return ``trials.csv``: number, state, parameters, values and whether no other trial is better."""
        best = self.frontier()
        rows = []
        for trial, state in zip(self.trials(), self.states(), strict=True):
            values = trial.values if trial.values and state == "done" else [None] * len(self.objectives)
            rows.append(
                {"trial": trial.number, "state": state}
                | trial.params
                | {objective.name: value for objective, value in zip(self.objectives, values, strict=True)}
                | {"on_frontier": trial.number in best}
            )
        return rows


def _remove_rest_of_a_killed_search(journal: Path, *, num_parameters: int) -> None:
    """Remove what a killed search may leave: a lock, an incomplete line, a last trial without all of its parameters.

    The sweep's own lock keeps other processes out. Such a trial has no job yet, and is proposed again.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if not journal.is_file():
        return
    *lines, _ = journal.read_bytes().split(b"\n")
    steps = [_step(line) for line in lines[-1 - num_parameters :]]
    given = next((count for count, step in enumerate(reversed(steps)) if step != _PARAMETER), 0)
    if given < num_parameters and steps[-1 - given :][:1] == [_BEGINNING]:
        del lines[-1 - given :]
    with journal.open("r+b") as file:
        file.truncate(sum(len(line) + 1 for line in lines))


def _step(line: bytes) -> object:
    """Return the kind of a step in the journal; None if the line is not a step."""
    try:
        content = parse_json(line)
    except ValueError:
        return None
    return content.get("op_code") if isinstance(content, dict) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Optuna's lines on each trial, and its warnings that an option is experimental (``constant_liar``)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def _readable(journal: Path) -> Iterator[None]:
    try:
        yield
    except (UsageError, OSError):
        raise
    except Exception as error:  # Optuna raises anything on a damaged journal
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{journal}: is damaged ({reason}); begin a new search") from error
