"""Evaluating on the videos held out of training (``test.subset=val``), to choose settings without the test videos."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.data.records import Subset
from dsn_lightning.errors import UsageError
from dsn_lightning.splits import held_out_name

_NOT_WHICH_VIDEOS = {"name", "root", "fps", "modality", "flow", "reading"}  # of a data set's keys


def evaluated(cfg: DictConfig) -> Subset:
    """Return the videos that are evaluated on: ``test``, or ``val``, those held out of training."""
    return "val" if OmegaConf.select(cfg, "test.subset") == "val" else "test"


def name_in_results(cfg: DictConfig) -> str:
    """Return the data set's name in results; held-out videos go by a name of their own.

    >>> name_in_results(OmegaConf.create({"dataset": {"name": "hmdb51"}, "test": {"subset": "val"}}))
    'hmdb51_held_out'
    """
    name = str(cfg.dataset.name)
    return held_out_name(name) if evaluated(cfg) == "val" else name


def no_held_out(cfg: DictConfig) -> str:
    """Return the message for a data set that holds no videos out."""
    return f"test.subset=val: dataset={cfg.dataset.name} holds no videos out of training; dataset.val_fraction=0.2 does"


def check_held_out(trained: DictConfig, cfg: DictConfig, *, where: str) -> None:
    """Make sure that a run was not trained on the held-out videos that ``cfg`` evaluates on, if it does.

    Args:
        trained: the run's configuration.
        cfg: of the evaluation, or of the training that starts from it.
        where: the run, for the message.

    Raises:
        UsageError: it holds out others of the same data set.
    """
    own, wanted = _which_videos(trained), _which_videos(cfg)
    if evaluated(cfg) != "val" or own["_target_"] != wanted["_target_"]:
        return
    for key in sorted(wanted.keys() | own.keys()):
        if own.get(key) != wanted.get(key):
            raise UsageError(
                f"{where}: was trained with dataset.{key}={own.get(key)}, asked for is {wanted.get(key)}: "
                "test.subset=val takes runs that hold out the same videos"
            )


def _which_videos(cfg: DictConfig) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(cfg.dataset, resolve=True)
    return {key: value for key, value in content.items() if key not in _NOT_WHICH_VIDEOS}
