"""Composing configurations out of ``conf/`` and the folders of plug-ins."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.config import resolvers
from dsn_lightning.config.settings import Settings
from dsn_lightning.files import user_path

resolvers.register()

_plug_in_folders: tuple[str, ...] = ()


def config_folder() -> str:
    """Return the folder of configurations: the checkout's ``conf/``, or the copy in the installed package."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "conf"
    return str(folder if folder.is_dir() else package.parents[1] / "conf")


def add_plug_ins(folders: Iterable[str | Path]) -> None:
    """Compose from these folders as well, from now on, as ``--config-dir`` does for the application."""
    global _plug_in_folders
    found = [str(user_path(folder).absolute()) for folder in folders]
    _plug_in_folders = tuple(dict.fromkeys([*_plug_in_folders, *found]))


def add_plug_ins_of_application() -> None:
    """Add what the running Hydra application was given with ``--config-dir`` or ``hydra.searchpath``."""
    sources = [s for s in HydraConfig.get().runtime.config_sources if s.provider not in ("main", "hydra")]
    add_plug_ins(s.path for s in sources if s.schema == "file")
    add_plug_ins(str(files(s.path)) for s in sources if s.schema == "pkg")


def config_folders() -> tuple[str, ...]:
    """Return all folders of configurations, the package's own first."""
    return (config_folder(), *_plug_in_folders)


def names_in_group(group: str) -> list[str]:
    """Return the names of a group's configurations in all folders, sorted."""
    return sorted({file.stem for folder in config_folders() for file in Path(folder, group).glob("*.yaml")})


def compose_anew(name: str, *overrides: str) -> DictConfig:
    """Return the configuration of ``conf/NAME.yaml`` with overrides; a Hydra application that runs is not affected.

    The files are read once for the same arguments; each call returns a configuration of its own.
    """
    return deepcopy(_composed(config_folder(), _plug_in_folders, name, overrides))


def compose_with_choices(name: str, *overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of ``conf/NAME.yaml`` with overrides, unresolved, and the choice in each group.

    In a group of which several configurations were chosen, the choice is their names.
    """
    cfg = _compose(config_folder(), _plug_in_folders, name, overrides, return_hydra_config=True)
    chosen = {str(group): choice for group, choice in cfg.hydra.runtime.choices.items() if isinstance(choice, str)}
    with open_dict(cfg):
        del cfg["hydra"]
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    several = {str(key): [*value] for key, value in content.items() if isinstance(value, dict) and key not in chosen}
    return {str(key): value for key, value in content.items()}, several | chosen


@lru_cache(maxsize=64)  # half a second and a third of a megabyte each; a table has about twenty
def _composed(folder: str, plug_ins: tuple[str, ...], name: str, overrides: tuple[str, ...]) -> DictConfig:
    return _compose(folder, plug_ins, name, overrides, return_hydra_config=False)


def _compose(
    folder: str, plug_ins: tuple[str, ...], name: str, overrides: tuple[str, ...], *, return_hydra_config: bool
) -> DictConfig:
    application = Singleton.get_state()  # of its own folders and overrides
    GlobalHydra.instance().clear()
    is_given = any(o.startswith("hydra.searchpath=") for o in overrides)
    paths = "" if is_given else ",".join(f"'file://{p}'" for p in plug_ins)
    try:
        with initialize_config_dir(folder, version_base="1.3"):
            given = [*overrides, *([f"hydra.searchpath=[{paths}]"] if paths else [])]
            return compose(name, given, return_hydra_config=return_hydra_config)
    finally:
        Singleton.set_state(application)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a configuration as dicts, lists and plain values, all references resolved."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def settings_of(*overrides: str, values: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of ``dsn-train`` with these overrides, and with ``values`` by dotted key.

    Composing takes far longer than setting a value, and is done once for the same overrides.
    """
    cfg = compose_anew("train", *overrides)
    for key, value in (values or {}).items():
        OmegaConf.update(cfg, key, value)
    return Settings.of(plain(cfg))
