"""Data sets: lists of videos with labels; one file per data set."""

from dsn_lightning.datasets.activitynet import ActivityNet
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.hmdb51 import Hmdb51
from dsn_lightning.datasets.kinetics import Kinetics
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.datasets.records import SUBSETS, Metric, Subset, VideoRecord, VideoSource, check_source
from dsn_lightning.datasets.thumos14 import Thumos14
from dsn_lightning.datasets.ucf101 import Ucf101

__all__ = [
    "SUBSETS",
    "ActivityNet",
    "Folder",
    "Hmdb51",
    "Kinetics",
    "Metric",
    "Needle",
    "Subset",
    "Thumos14",
    "Ucf101",
    "VideoRecord",
    "VideoSource",
    "check_source",
]
