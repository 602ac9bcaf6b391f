"""Where this process stands among those that train together, read from the environment; imports nothing heavy."""

import os
import tempfile


def process_rank() -> int:
    """Return the number of this process among all that train together; 0 is the one that writes.

    ``RANK`` is set by torchrun and by `dsn_lightning.launch.processes`, ``SLURM_PROCID`` by srun; ``NODE_RANK`` by
    hand, for the process that starts a node's.
    """
    place = os.environ.get("RANK") or (os.environ.get("SLURM_PROCID") if _under_srun() else None)
    return int(place or os.environ.get("NODE_RANK") or 0)


def started_as_one_of_many() -> bool:
    """Whether torchrun, srun or ourselves have started this process as one of several."""
    return "LOCAL_RANK" in os.environ or _under_srun()


def _under_srun() -> bool:
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Lightning tells them apart
    return int(os.environ.get("SLURM_NTASKS") or 1) > 1 and not interactive


def without_a_folder(arguments: list[str]) -> list[str]:
    """Complete the arguments of a process that is not the first one: the run's folder is the first one's to write."""
    placed = any(a.startswith("hydra.run.dir=") for a in arguments)
    elsewhere = [] if placed else [f"hydra.run.dir='{tempfile.gettempdir()}'"]
    return [*arguments, *elsewhere, "hydra.output_subdir=null", "hydra/job_logging=none"]
