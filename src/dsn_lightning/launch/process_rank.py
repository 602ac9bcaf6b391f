"""The rank of this process among those that train together, from the environment; imports nothing heavy."""

import os


def process_rank() -> int:
    """Return the number of this process among all that train together; process 0 writes the run's files.

    ``RANK`` is set by torchrun and by `dsn_lightning.launch.processes`, ``SLURM_PROCID`` by srun; ``NODE_RANK`` by
    hand, for the process that starts those of its node.
    """
    rank = os.environ.get("RANK") or (os.environ.get("SLURM_PROCID") if _under_srun() else None)
    return int(rank or os.environ.get("NODE_RANK") or 0)


def started_as_one_of_many() -> bool:
    """Whether torchrun, srun or `dsn_lightning.launch.processes` started this process as one of several."""
    return "LOCAL_RANK" in os.environ or _under_srun()


def _under_srun() -> bool:
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # Lightning distinguishes them likewise
    return int(os.environ.get("SLURM_NTASKS") or 1) > 1 and not interactive
