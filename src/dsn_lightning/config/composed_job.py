"""A job of a sweep, out of its composed configuration."""

from collections.abc import Sequence

from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.runs.sweep_folder import SweepJob


def planned_job(config: DictConfig, overrides: Sequence[str]) -> SweepJob:
    """Return the job with this configuration; it is described by the overrides that concern it alone."""
    return SweepJob(
        overrides=[o for o in filter_overrides(overrides) if not o.startswith(("sweep.", "overwrite="))],
        folder=str(OmegaConf.select(config, "hydra.sweep.subdir")),
    )
