"""MoViNet-A0 against MoViNet-pytorch: the layouts of its public weights, what it answers, and what causal means."""

import numpy as np
import pytest
import torch
from torch import nn

from dsn_lightning.backbones.movinet import MoViNetA0
from dsn_lightning.backbones.weights import load_into
from dsn_lightning.config.initial_weights import take_weights
from dsn_lightning.errors import UsageError
from helpers.networks import drawn_weights, public_layout
from helpers.synthetic import composed

FILES = {False: "modelA0_statedict_v3", True: "modelA0_stream_statedict_v3"}
LOGITS = {  # of towhee-models 1.1.3, which has MoViNet-pytorch's network, with MoViNet-pytorch's hard sigmoid
    False: [[55.57947, -265.88885, -347.85925, 324.10938], [92.18851, -145.11255, -368.21951, 421.88708]],
    True: [[172.92282, 92.61174, -82.39665, 197.55951], [187.41039, 129.86526, -41.96455, 200.94757]],
}


def layout_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a file of its weights, where the last layer is a convolution of size 1."""
    shapes = {n: tuple(v.shape) for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    last = f"{network.head}.weight"
    return shapes | {last: (*shapes[last], *[1] * (2 if last.endswith("conv2d.weight") else 3))}


def network_with_drawn_weights(*, causal: bool, **keys: object) -> MoViNetA0:
    network = MoViNetA0(4, causal=causal, **keys).eval()
    load_into(network, drawn_weights(layout_of(network)), keep_head=False)
    return network


@pytest.mark.parametrize(("causal", "parameters"), [(False, 3_111_799), (True, 3_748_031)])  # base: 3.1 M in the paper
def test_the_public_weights_fit(causal, parameters):
    with torch.device("meta"):
        network = MoViNetA0(600, causal=causal)
    assert layout_of(network) == public_layout(FILES[causal])
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert isinstance(network.get_submodule(network.head), nn.Linear)  # so classifier.head=logistic_regression works


@pytest.mark.parametrize("causal", [False, True])
def test_answers_equal_the_public_networks(causal):
    network = network_with_drawn_weights(causal=causal)
    clips = torch.from_numpy(np.random.default_rng(1).random((2, 3, 5, 45, 45))).float()  # 45, 23, 12, 6, 3, 2
    with torch.no_grad():
        torch.testing.assert_close(network(clips), torch.tensor(LOGITS[causal]), rtol=1e-4, atol=1e-3)
        longer = torch.cat([clips[:, :, :1], clips, clips[:, :, :1]], 2)
        middle = network_with_drawn_weights(causal=causal, num_frames=5)
        torch.testing.assert_close(middle(longer), network(clips))


@pytest.mark.parametrize("causal", [False, True])
def test_only_the_stream_form_is_causal(causal):
    """Its features of the first frames are the same whatever follows."""
    network = network_with_drawn_weights(causal=causal)
    clips = torch.rand(1, 3, 6, 32, 32)
    with torch.no_grad():
        whole, beginning = (network.blocks(network.conv1(part)) for part in (clips, clips[:, :, :4]))
    same = torch.allclose(whole[:, :, :4], beginning, rtol=1e-4, atol=1e-4)
    assert same == causal


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("num_classes", "in_channels"), [(5, 3), (0, 3), (5, 2)])
def test_a_file_of_public_weights_starts_a_training(causal, num_classes, in_channels, tmp_path):
    """As a classifier with other classes, as a trunk, and on flow."""
    state = drawn_weights(public_layout(FILES[causal]))
    torch.save(state, tmp_path / "weights")
    network = MoViNetA0(num_classes, causal=causal, in_channels=in_channels)
    take_weights(network, str(tmp_path / "weights"), {}, key="weights")
    for name, value in network.state_dict().items():
        fresh = "num_batches" in name or name.startswith((network.head, "conv1." if in_channels != 3 else "-"))
        assert fresh or torch.equal(value, state[name]), name


def test_weights_of_the_other_form_are_refused(tmp_path):
    torch.save(drawn_weights(public_layout(FILES[True])), tmp_path / "stream.pt")
    with pytest.raises(UsageError, match=r"missing keys: conv1\.conv_1\.conv3d\.weight.*unexpected keys: blocks"):
        take_weights(MoViNetA0(5), str(tmp_path / "stream.pt"), {}, key="weights")


def test_the_file_to_fetch_and_its_place_are_named(tmp_path, monkeypatch):
    """Without a network, and where torch.hub would keep it."""

    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    published = composed("backbone=movinet_a0_stream").backbone.weights_from
    with pytest.raises(UsageError) as caught:
        take_weights(MoViNetA0(5, causal=True), "kinetics600", published, key="weights")
    assert str(caught.value) == (
        "weights=kinetics600: modelA0_stream_statedict_v3 could not be downloaded (no route to host); fetch "
        "https://github.com/Atze00/MoViNet-pytorch/raw/main/weights/modelA0_stream_statedict_v3 elsewhere and save it "
        f"as {tmp_path / 'checkpoints' / 'modelA0_stream_statedict_v3'}"
    )
