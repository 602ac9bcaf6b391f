"""ResNets over stacked frames."""

import pytest
import torch

from dsn_lightning.backbones.resnet2d import ResNet2D


def test_resnet2d_sees_only_the_middle_frames():
    net = ResNet2D(2, num_frames=4, stem_width=8, widths=(8,), blocks=(1,)).eval()
    clips = torch.randn(2, 3, 8, 16, 16)
    changed = clips.clone()
    changed[:, :, [0, 1, 6, 7]] = 0
    assert torch.equal(net(clips), net(changed))
    changed[:, :, 2] = 0
    assert not torch.equal(net(clips), net(changed))


def test_resnet2d_refuses_short_clips():
    with pytest.raises(ValueError, match="too short"):
        ResNet2D(2, num_frames=8)(torch.randn(1, 3, 4, 16, 16))
