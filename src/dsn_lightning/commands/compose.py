"""Other configurations than the application's own, out of ``conf/``."""

from copy import deepcopy
from functools import lru_cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from dsn_lightning.commands.cli import config_folder


def compose_anew(name: str, *overrides: str) -> DictConfig:
    """Return the configuration of a command line, from inside or outside of a Hydra application, which stays as it is.

    The files are read once for the same arguments; each call gives a configuration of its own.

    Args:
        name: of a file in ``conf/``, without its ending.
        *overrides: arguments of the command line.
    """
    return deepcopy(_composed(config_folder(), name, overrides))


@lru_cache(maxsize=64)  # half a second and a third of a megabyte each; a table has about twenty
def _composed(folder: str, name: str, overrides: tuple[str, ...]) -> DictConfig:
    application = Singleton.get_state()  # a resumed run's Hydra knows that run's folder, not conf/
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(folder, version_base="1.3"):
            return compose(name, list(overrides))
    finally:
        Singleton.set_state(application)
