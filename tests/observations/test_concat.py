"""The paper's observation network."""

import pytest
import torch

from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.concat import ConcatObservation


def test_policy_starts_uniform_and_refuses_another_n():
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net = ConcatObservation(trunk, clips_per_section=3).eval()
    assert not net(torch.randn(2, 5, 3, 3, 2, 16, 16)).any()
    with pytest.raises(UsageError, match="N=4"):
        net(torch.randn(2, 5, 4, 3, 2, 16, 16))
