"""The folder of a sweep: the names of its files, the record of its jobs and its lock."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import is_inside, write_json
from dsn_lightning.runs.run_folder import FileIn, LockedFolder, RunFolder, check_format, free_name
from dsn_lightning.runs.tolerant_files import read_json

SWEEP_FORMAT = 1
"""Version of ``sweep.json``."""


@dataclass(frozen=True)
class SweepJob:
    """A job as ``sweep.json`` records it; its states are those of `dsn_lightning.launch.jobs.Job`."""

    overrides: Sequence[str]
    folder: str  # the run's folder, relative to the sweep's
    state: str = "waiting"
    exit_code: int | None = None

    def name(self, number: int, *, without: Collection[str]) -> str:
        """Return the job's number, and its overrides without those that say nothing.

        >>> SweepJob(["seed=3", "M=1", "gamma=0"], "0").name(0, without={"seed=3"})
        '0 M=1 gamma=0'
        """
        return " ".join([str(number), *(override for override in self.overrides if override not in without)])


def common_overrides(jobs: Sequence[SweepJob]) -> set[str]:
    """Return the overrides that all jobs have."""
    return set.intersection(*(set(job.overrides) for job in jobs))


@dataclass(frozen=True)
class SweepRecord:
    """Content of ``sweep.json``, which is complete at every moment."""

    jobs: Sequence[SweepJob]  # in the order in which they start


@dataclass(frozen=True)
class SweepFolder(LockedFolder):
    """The folder of a sweep, which may not exist yet."""

    sweep_json = FileIn("sweep.json")
    multirun_yaml = FileIn("multirun.yaml")
    """Hydra's copy of the configuration that all jobs share."""
    mean_over_splits_csv = FileIn("mean_over_splits.csv")
    search_json = FileIn("search.json")
    """What a search looks for; a grid has none."""
    search_journal = FileIn("search.journal")
    """Optuna's record of a search."""
    trials_csv = FileIn("trials.csv")
    """One row for each trial of a search."""

    def exists(self) -> bool:
        """Whether the folder holds a sweep."""
        return self.sweep_json.is_file()

    def is_used(self) -> bool:
        """Whether a sweep has begun here."""
        return self.exists()

    def run(self, job: SweepJob) -> RunFolder:
        """Return the folder of a job's run."""
        return RunFolder(self.path / job.folder)

    def read(self) -> SweepRecord:
        """Return the record; without jobs if ``sweep.json`` is missing or incomplete.

        Raises:
            UsageError: it has another format, or what it says of a job is no job inside this folder.
        """
        content = read_json(self.sweep_json)
        if content is None:
            return SweepRecord(())
        content = content if isinstance(content, dict) else {}
        check_format(self.path, content, expected=SWEEP_FORMAT, kind="sweep")
        jobs = content.get("jobs")
        if not isinstance(jobs, list):
            raise UsageError(self.damaged(f"expected a list of jobs, got {str(jobs)[:40]}"))
        return SweepRecord([self._job(number, job) for number, job in enumerate(jobs)])

    def _job(self, number: int, entry: Any) -> SweepJob:
        """Return a job as the file describes it; its folder must lie inside the sweep's."""
        wrong = f"job {number}: expected"
        if not isinstance(entry, dict) or not {"overrides", "folder"} <= {*entry} <= {f.name for f in fields(SweepJob)}:
            raise UsageError(self.damaged(f"{wrong} an object with overrides, folder, state and exit_code"))
        overrides, folder, state, code = (entry.get(name) for name in ("overrides", "folder", "state", "exit_code"))
        if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
            raise UsageError(self.damaged(f"{wrong} overrides to be a list of texts"))
        if not isinstance(folder, str) or not is_inside(folder):
            raise UsageError(self.damaged(f"{wrong} a folder inside the sweep's, got {folder!r}"))
        if not isinstance(state, str) or not (code is None or type(code) is int):
            raise UsageError(self.damaged(f"{wrong} a state and an exit code, got {state!r} and {code!r}"))
        return SweepJob(tuple(overrides), folder, state, code)

    def damaged(self, what: str = "is damaged") -> str:
        """Return the message, with the remedy, for a ``sweep.json`` whose jobs cannot be read."""
        return (
            f"{self.sweep_json}: {what}; resume={self.path}/0, resume={self.path}/1, ... continue its jobs one by "
            "one, or begin the sweep again in another folder, or with overwrite=true"
        )

    def write(self, record: SweepRecord) -> None:
        """Write the record."""
        write_json(self.sweep_json, {"format": SWEEP_FORMAT, **asdict(record)})

    def refuse_existing(self) -> None:
        """Raise `UsageError` if the folder holds a sweep, so that a new one cannot begin."""
        if self.exists():
            remedy = f"sweep.resume={self.path} continues it; a new one needs another folder, or overwrite=true, which"
            remedy += f" moves this one to {free_name(self.path)}"
            raise UsageError(f"hydra.sweep.dir={self.path}: already holds a sweep; {remedy}")
