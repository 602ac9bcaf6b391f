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


def test_the_arm_that_keeps_nothing_leaves_the_choice_among_clips_alone():
    torch.manual_seed(0)
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net, other = (ConcatObservation(trunk, clips_per_section=3, may_skip=skip).eval() for skip in (False, True))
    clips = torch.randn(2, 5, 3, 3, 2, 16, 16)
    assert other(clips).shape == (2, 5, 4)
    assert not other(clips).any()
    torch.nn.init.normal_(other.fc.weight)
    net.load_state_dict(
        {name: value[:3] if name.startswith("fc") else value for name, value in other.state_dict().items()}
    )
    torch.testing.assert_close(other(clips)[..., :3], net(clips))
