"""Clip networks: clips (B, C, T, H, W) -> logits (B, J). `ClipNetwork` states their contract."""

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.backbones.exported_network import ExportedNetwork
from dsn_lightning.backbones.huggingface_network import HuggingFaceNetwork
from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.movinet import MoViNetA0
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.backbones.x3d import X3D

__all__ = [
    "X3D",
    "ClipNetwork",
    "ExportedNetwork",
    "HuggingFaceNetwork",
    "MoViNetA0",
    "MobileNetV2",
    "ResNet2D",
    "ResNet3D",
    "TorchvisionNetwork",
    "check_clip_network",
]
