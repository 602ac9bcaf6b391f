"""Evaluating on the videos held out of training (``test.subset=val``), to choose settings without the test videos."""

from dsn_lightning.config.settings import Settings
from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.video_index import prepare_source


def check_holds_out(source: VideoSource, settings: Settings) -> None:
    """Refuse a data set without the videos that ``test.subset=val`` is to evaluate on.

    Raises:
        UsageError: it has no held-out videos.
    """
    if settings.test.subset != "val":
        return
    prepare_source(source, settings.dataset.reading.prepared)
    if not source.records("val"):
        raise UsageError(
            f"test.subset=val: dataset={settings.dataset.name} has no held-out videos; use dataset.val_fraction=0.2"
        )
