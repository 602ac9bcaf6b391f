"""X3D against pytorchvideo's: the layout of its public weights, and what it answers."""

import numpy as np
import pytest
import torch

from dsn_lightning.backbones.weights import load_into
from dsn_lightning.backbones.x3d import X3D
from dsn_lightning.config.initial_weights import take_weights
from helpers.networks import drawn_weights, public_layout


def test_the_public_weights_fit():
    """Those of Kinetics-400, X3D_S.pyth."""
    with torch.device("meta"):
        network = X3D(400)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert {name: tuple(value.shape) for name, value in state.items()} == public_layout("X3D_S")
    assert sum(p.numel() for p in network.parameters()) == 3_794_274  # 3.79 M in pytorchvideo's model zoo


def test_answers_equal_pytorchvideos():
    """The expected logits are those of pytorchvideo 0.1.5 (torch 2.15), with these weights and clips."""
    network = X3D(4).eval()
    state = network.state_dict()
    load_into(network, drawn_weights({n: v.shape for n, v in state.items() if "num_batches" not in n}), keep_head=False)
    clips = torch.from_numpy(np.random.default_rng(1).random((2, 3, 3, 64, 64))).float()
    expected = [[2330.3064, 4032.68213, 134.49741, -1178.70166], [2514.00952, 3709.61548, 299.42307, -1588.10938]]
    with torch.no_grad():
        torch.testing.assert_close(network(clips), torch.tensor(expected), rtol=1e-4, atol=1e-2)
        longer = torch.cat([clips[:, :, :1], clips, clips[:, :, :1]], 2)
        middle = X3D(4, num_frames=3).eval()
        middle.load_state_dict(network.state_dict())
        torch.testing.assert_close(middle(longer), network(clips))


@pytest.mark.parametrize(("num_classes", "in_channels"), [(5, 3), (0, 3), (5, 2)])
def test_a_file_of_public_weights_starts_a_training(num_classes, in_channels, tmp_path):
    """As a classifier with other classes, as a trunk, and on flow."""
    state = drawn_weights(public_layout("X3D_S"))
    torch.save({"epoch": 300, "model_state": state}, tmp_path / "X3D_S.pyth")
    network = X3D(num_classes, in_channels=in_channels)
    take_weights(network, str(tmp_path / "X3D_S.pyth"), {}, key="weights")
    for name, value in network.state_dict().items():
        fresh = "num_batches" in name or "proj" in name or (in_channels != 3 and name == "blocks.0.conv.conv_t.weight")
        assert fresh or torch.equal(value, state[name]), name
