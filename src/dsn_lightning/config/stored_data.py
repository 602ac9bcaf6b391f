"""The data of a trained run, for whoever reads the run's results with its videos."""

from collections.abc import Sequence

from dsn_lightning.config.build import build_datamodule
from dsn_lightning.config.stored_places import refuse_lists, refuse_places
from dsn_lightning.config.stored_settings import DATASET_PARTS, check_stored_parts
from dsn_lightning.config.trained import Trained
from dsn_lightning.data.datamodule import SectionClipDataModule


def datamodule_of(trained: Trained, *, trusted: Sequence[str] = ()) -> SectionClipDataModule:
    """Return the data module of a run, which is not set up.

    What the checkpoint says is checked first: it builds known parts or those of ``trusted`` packages alone, and makes
    files only below the working folder, or where the data set is already.

    Raises:
        UsageError: it does not pass.
    """
    settings, where = trained.settings, str(trained.path)
    check_stored_parts(settings, DATASET_PARTS, where=where, trusted=trusted)
    refuse_lists(settings, where=where, given=())
    data = build_datamodule(settings)
    refuse_places(settings, where=where, remedy="move the data set there", source=data.source)
    return data
