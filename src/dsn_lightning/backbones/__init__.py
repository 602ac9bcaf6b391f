"""Clip classifiers: (B, C, T, H, W) -> (B, J)."""

from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork

__all__ = ["MobileNetV2", "ResNet2D", "ResNet3D", "TorchvisionNetwork"]
