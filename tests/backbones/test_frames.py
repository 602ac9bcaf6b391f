"""Which frames of a clip a network looks at."""

import pytest
import torch

from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.errors import UsageError


def test_networks_look_at_the_middle_frames():
    clips = torch.randn(1, 3, 9, 64, 64)
    for net in (
        MobileNetV2(4, num_frames=3),
        TorchvisionNetwork(4, model="resnet18", num_frames=3),
        ResNet2D(4, num_frames=3),
    ):
        with torch.no_grad():
            assert torch.equal(net.eval()(clips), net(clips[:, :, 3:6]))
        with pytest.raises(UsageError, match="too short for a network that looks at 3"):
            net(clips[:, :, :2])
