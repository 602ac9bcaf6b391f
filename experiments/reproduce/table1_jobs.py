"""Table I as jobs with fixed settings: four trainings and their common evaluation, for small networks."""

from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.launch.jobs import Job
from dsn_lightning.runs.run_folder import RunFolder
from reproduce.commands import quoted
from reproduce.configurations import evaluate, settings_of, train

NETWORKS = ("max_response", "baseline", "dsn", "dsn_fixed")
ROLES = {"checkpoint": "dsn", "baseline": "baseline", "dsn_fixed": "dsn_fixed", "max_response": "max_response"}


def run_configured(program: str, overrides: Sequence[str]) -> None:
    """Run ``train`` or ``evaluate`` in this process, with the configuration that the overrides give."""
    if program == "train":
        train(settings_of(*overrides))
    else:
        evaluate(*overrides)


def table1_jobs(title: str, seed: int, overrides: Sequence[str], folder: Path, *, rows: str) -> list[Job]:
    """Return the trainings of the four networks and their common evaluation.

    Args:
        title: what the jobs' names begin with.
        seed: seed of the trainings.
        overrides: overrides of all trainings.
        folder: gets a folder for each job.
        rows: folder in ``conf/experiment`` that configures the four networks.
    """
    last = {name: RunFolder(folder / name).last_checkpoint for name in NETWORKS}
    jobs = []
    for name in NETWORKS:
        arguments = [f"experiment={rows}/{name}", *overrides, f"seed={seed}", f"run_dir={quoted(folder / name)}"]
        after = []
        if name in ("dsn", "dsn_fixed"):  # the sampler starts from a trained clip network, as the paper's (Sec. V-B)
            arguments.append(f"observation.checkpoint={quoted(last['max_response'])}")
            after.append(f"{title} max_response")
        if name == "dsn_fixed":
            arguments.append(f"classifier.checkpoint={quoted(last['baseline'])}")
            after.append(f"{title} baseline")
        jobs.append(Job(f"{title} {name}", run_configured, ("train", arguments), folder / name, after))
    place = folder / "evaluate"
    arguments = [*(f"{role}={quoted(last[name])}" for role, name in ROLES.items()), f"run_dir={quoted(place)}"]
    evaluation = Job(f"{title} evaluate", run_configured, ("evaluate", arguments), place, [job.name for job in jobs])
    return [*jobs, evaluation]
