"""Other configurations than the application's own, out of ``conf/``."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from dsn_lightning.commands.cli import config_folder


def compose_anew(name: str, *overrides: str) -> DictConfig:
    """Return the configuration of a command line, from inside or outside of a Hydra application, which stays as it is.

    Args:
        name: of a file in ``conf/``, without its ending.
        *overrides: arguments of the command line.
    """
    application = Singleton.get_state()  # a resumed run's Hydra knows that run's folder, not conf/
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_folder(), version_base="1.3"):
            return compose(name, list(overrides))
    finally:
        Singleton.set_state(application)
