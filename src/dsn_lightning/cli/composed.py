"""Runs an application with a configuration that was composed before, in another process: a job of a sweep.

Nothing is composed anew, so a job trains exactly what the sweep has composed, wherever its files were found.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.conf import HydraConf
from hydra.core.utils import JobRuntime, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from dsn_lightning.files import write_atomically


def write_composed(config: DictConfig, file: Path) -> None:
    """Write a composed configuration, Hydra's own settings and all references included.

    Folders of configurations become absolute: the job may run from another working folder.
    """
    config = config.copy()
    with flag_override(config, ["readonly", "struct"], [False, False]):
        for source in config.hydra.runtime.config_sources:
            if source.schema == "file":
                source.path = str(Path(source.path).absolute())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, OmegaConf.to_yaml(config))


def run_composed(application: Callable[..., Any], file: Path, *, sweep: Path) -> None:
    """Run a Hydra application as the job of a sweep, in the folder of ``file``, which `write_composed` has written."""
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    typed = OmegaConf.structured(HydraConf, flags={"struct": False})  # Hydra adds groups to it
    with open_dict(config):
        config.hydra = OmegaConf.merge(typed, config.hydra)
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(sweep), str(file.parent.relative_to(sweep))
    OmegaConf.set_struct(config, True)
    setup_globals()
    JobRuntime.instance().set("name", config.hydra.job.name)
    loader = ConfigLoaderImpl(ConfigSearchPathImpl())  # composes nothing
    job = run_job(
        task_function=application,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks(config)),
    )
    _ = job.return_value  # raises what the application has raised
