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


def test_the_layers_bias_is_how_good_a_clip_must_be_to_be_kept():
    torch.manual_seed(0)
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net, other = (SharedObservation(trunk, may_skip=skip).eval() for skip in (False, True))
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    torch.testing.assert_close(other(clips).softmax(-1), torch.full((2, 3, 6), 1 / 6))
    torch.nn.init.normal_(net.fc.weight)
    torch.nn.init.constant_(net.fc.bias, -1.0)
    other.load_state_dict(net.state_dict())
    policy = other(clips).softmax(-1)
    kept = policy[..., :5] / policy[..., :5].sum(-1, keepdim=True)
    torch.testing.assert_close(kept, net(clips).softmax(-1))
    torch.testing.assert_close(policy[..., 5], 1 / (1 + net(clips).exp().sum(-1)))
