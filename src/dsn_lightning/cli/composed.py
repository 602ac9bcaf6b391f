"""Runs an application with a configuration that was composed before, in another process: a job of a sweep.

Nothing is composed anew, so a job trains exactly what the sweep has composed, wherever its files were found.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

from dsn_lightning.files import write_atomically


def write_composed(config: DictConfig, file: Path) -> None:
    """Write a composed configuration for the job in the folder of ``file``: plain values, and Hydra's own settings.

    All references are resolved, as a stored configuration is refused otherwise; where one cannot be, all stay, and the
    job says why. Folders of configurations become absolute: the job may run from another working folder.
    """
    config = config.copy()
    with flag_override(config, ["readonly", "struct"], [False, False]):
        for source in config.hydra.runtime.config_sources:
            if source.schema == "file":
                source.path = str(Path(source.path).absolute())
        config.hydra.runtime.output_dir = str(file.parent.absolute())
        with suppress(OmegaConfBaseException), _known_to_hydra(config):
            settings = {str(key): value for key, value in config.items() if key != "hydra"}
            config.update({key: _resolved(value) for key, value in settings.items()})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, OmegaConf.to_yaml(config))


def _resolved(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@contextmanager
def _known_to_hydra(config: DictConfig) -> Iterator[None]:
    """Let ``${hydra:...}`` refer to the configuration of a job."""
    known = HydraConfig.instance()
    before = known.cfg
    known.set_config(config)
    try:
        yield
    finally:
        known.cfg = before


def run_composed(application: Callable[..., Any], file: Path, *, sweep: Path) -> None:
    """Run a Hydra application as the job of a sweep, in the folder of ``file``, which `write_composed` has written.

    The file may set anything of Hydra's, so it must be this very sweep's; see `stored_run.choose_stored` for any other.
    """
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
