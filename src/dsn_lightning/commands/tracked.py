"""From a configuration to the loggers of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs.environment import git_commit
from dsn_lightning.runs.exit_codes import sigterm_as_exit
from dsn_lightning.tracking.loggers import RunInfo, Tracker, finishing


@contextmanager
def tracked(cfg: DictConfig, run_dir: Path, *, job_type: str) -> Iterator[Tracker]:
    """Start the loggers that ``cfg.logger`` names, and end them with the run's true exit code.

    Args:
        cfg: the whole configuration.
        run_dir: the run's folder.
        job_type: ``train`` or ``evaluate``.
    """
    rank_zero_only.rank = process_rank()  # type: ignore[attr-defined]  # Lightning sets it later
    with sigterm_as_exit(), finishing(Tracker()) as tracker:
        if cfg.logger:
            info = _info(cfg, run_dir, job_type)
            for logger in cfg.logger.values():
                made = instantiate(logger, _convert_="all")
                tracker.loggers.append(made(info) if isinstance(made, partial) else made)
        yield tracker


def _info(cfg: DictConfig, run_dir: Path, job_type: str) -> RunInfo:
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    tested = "" if job_type == "train" else f" test {cfg.test.M}:{cfg.test.N}"
    return RunInfo(
        folder=run_dir,
        config={str(key): value for key, value in config.items()},
        job_type=job_type,
        name=f"{cfg.algorithm.name} {cfg.dataset.name} {cfg.M}:{cfg.N} gamma={cfg.gamma} seed={cfg.seed}{tested}",
        tags=list(dict.fromkeys([cfg.algorithm.name, cfg.dataset.name, cfg.backbone.name])),
        commit=git_commit(),
    )
