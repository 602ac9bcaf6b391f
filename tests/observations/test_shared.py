"""The observation network that scores each clip by itself."""

import torch

from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.observations.shared import SharedObservation


def test_shared_head_takes_any_n_and_ignores_positions():
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net = SharedObservation(trunk).eval()
    torch.nn.init.normal_(net.fc.weight)
    clips = torch.randn(1, 2, 5, 3, 2, 16, 16)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(net(clips)[..., order], net(clips[:, :, order]))
