"""Hides the advice of PyTorch Lightning that does not apply to this package."""

import logging
import warnings

_ADVICE = (
    ".*does not have many workers.*",
    ".*treespec.*",
    ".*smaller than the logging interval.*",
    ".*have no `val_dataloader`.*",
    ".*Total length of .* across ranks is zero.*",  # likewise: nothing to validate on, or to predict
    ".*exists and is not empty.*",  # the run's folder, when a run is resumed
    ".*your dataloader is not resumable.*",  # it is, in a way that Lightning does not look for
    ".*in eval mode at the start of training.*",  # parts that a network keeps frozen
    ".*use `.*sync_dist=True.*",  # what is logged at an epoch's end is equal in all processes
)


def hide_lightning_advice() -> None:
    """Ignore these warnings and messages of level INFO; all other warnings stay."""
    for advice in _ADVICE:
        warnings.filterwarnings("ignore", message=advice)
    for logger in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.WARNING)
