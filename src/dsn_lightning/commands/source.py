"""From a configuration to a data set, without what training needs."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from dsn_lightning.datasets.records import VideoSource

_NOT_THE_SOURCES = ("fps", "modality", "reading")
"""Keys of a data set that say how its videos are read."""


def build_source(dataset: DictConfig) -> VideoSource:
    """Return the data set that ``cfg.dataset`` describes."""
    own = {key: value for key, value in dataset.items() if key not in _NOT_THE_SOURCES}
    source: VideoSource = instantiate(own, _convert_="all")
    return source
