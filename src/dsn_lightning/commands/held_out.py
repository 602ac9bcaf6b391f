"""Evaluating on the videos held out of training (``test.subset=val``), to choose settings without the test videos."""

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.datasets.records import Subset, VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import held_out_name
from dsn_lightning.prepare.video_index import prepare_source


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


def check_holds_out(source: VideoSource, cfg: DictConfig) -> None:
    """Refuse a data set without the videos that ``test.subset=val`` is to evaluate on.

    Raises:
        UsageError: says so.
    """
    if evaluated(cfg) != "val":
        return
    prepare_source(source, OmegaConf.select(cfg, "dataset.reading.prepared"))
    if not source.records("val"):
        raise UsageError(
            f"test.subset=val: dataset={cfg.dataset.name} holds no videos out of training; "
            "dataset.val_fraction=0.2 does"
        )
