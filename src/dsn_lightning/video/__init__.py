"""Reading videos: decoders, clip positions, time lines, crops."""

from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError, VideoInfo

__all__ = ["ImageFolder", "PyAV", "TorchCodec", "VideoError", "VideoInfo"]
