"""Counted multiply-adds against torchvision's own, the paper's and counts by hand."""

import multiprocessing
import resource
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.network_costs import count_classifier, count_observation
from dsn_lightning.cost.macs import count_macs, count_parameters


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("resnet18", (3, 224, 224)),
        ("mobilenet_v2", (3, 224, 224)),  # convolutions in groups
        ("vit_b_16", (3, 224, 224)),  # nn.MultiheadAttention
        ("r3d_18", (3, 16, 112, 112)),
        ("r2plus1d_18", (3, 16, 112, 112)),
        ("s3d", (3, 16, 224, 224)),
        ("swin3d_t", (3, 16, 224, 224)),  # attention in windows
        ("mvit_v2_s", (3, 16, 224, 224)),  # pooled attention
    ],
)
def test_counts_equal_torchvisions(model, shape):
    with torch.device("meta"):
        network = get_model(model, weights=None)
    theirs = next(iter(get_model_weights(model))).meta
    assert count_macs(network, 1, *shape) / 1e9 == pytest.approx(theirs["_ops"], abs=6e-4)  # given to three places
    assert count_parameters(network) == theirs["num_params"]


class Attention(nn.Module):
    """torch's attention: 4 heads, 16 positions, 8 features, no weights."""

    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_attention_and_recurrence_by_hand():
    assert count_macs(Attention(), 2, 4, 16, 8) == 2 * 4 * (16 * 16 * 8 + 16 * 16 * 8)
    assert count_macs(nn.LSTM(8, 8, batch_first=True), 2, 16, 8) == 2 * 16 * 4 * (8 * 8 + 8 * 8)


def test_counting_does_not_change_the_network():
    network = ResNet3D(2, stem_width=4, widths=(4, 4), blocks=(1, 1)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, 1, 3, 4, 16, 16)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # the peak, in Linux's kB


def _count_large_networks(answer) -> None:
    layer = nn.Linear(16384, 2048)  # 134 MB
    before = _megabytes()
    count_macs(layer, 1, 16384)
    after_a_layer = _megabytes()
    backbone = settings_of("backbone=r2plus1d_34", "run_dir=none").backbone
    parameters = count_classifier(backbone, num_classes=0, modality="rgb").parameters  # 254 MB
    answer.send((after_a_layer - before, _megabytes() - after_a_layer, parameters))


def test_counting_takes_no_memory_for_weights():
    count_macs(nn.Linear(2, 2), 1, 2)  # so torch's imports do not count
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_count_large_networks, args=(sender,))
    process.start()
    sender.close()
    assert receiver.poll(120), "the child process ended without an answer"
    layer, classifier, parameters = receiver.recv()
    process.join()
    assert parameters > 63e6
    assert layer < 40
    assert classifier < 40


def test_configured_networks_cost_what_the_paper_implies():
    """20.348, 152.36, 1.932 and, of flow, 1.853: torchvision's layers with the mid-widths of IG-65M's checkpoints."""
    for name, classifier, flow in (("r3d_18", 20.348, 1.853), ("r2plus1d_34", 152.36, None)):
        settings = settings_of(f"backbone={name}", "N=3", "run_dir=none")
        backbone, sampler = settings.backbone, settings.observation
        count = partial(count_observation, sampler, backbone, clips_per_section=3, num_classes=0)
        macs = count_classifier(backbone, num_classes=0, modality="rgb").macs
        assert macs / 1e9 == pytest.approx(classifier, rel=7e-5)
        assert count(modality="rgb").macs / 1e9 == pytest.approx(1.932, abs=1e-3)  # the middle 8 frames
        if flow is not None:
            assert count(modality="flow").macs / 1e9 == pytest.approx(flow, abs=1e-3)


@pytest.mark.parametrize(
    ("backbone", "frames", "published", "within"),
    [
        ("x3d_s", 13, 1.96, 0.002),  # its paper (Feichtenhofer, 2020), 160 x 160
        ("movinet_a0", 50, 2.71, 0.03),  # its paper (Kondratyuk et al., 2021), 172 x 172; convolutions alone are 2.63
    ],
)
def test_light_video_networks_cost_what_their_papers_say(backbone, frames, published, within):
    settings = settings_of(f"backbone={backbone}", f"backbone.frames_per_clip={frames}", "run_dir=none")
    macs = count_classifier(settings.backbone, num_classes=400, modality="rgb").macs
    assert macs / 1e9 == pytest.approx(published, rel=within)


@pytest.mark.parametrize(
    ("network", "gmacs"),
    [
        (ResNet3D(0), 20.348),
        (ResNet2D(0), 1.932),
    ],  # Table III: 203.6 G for 10 clips; sampler 9.4% of one
)
def test_default_networks_cost_what_the_paper_implies(network, gmacs):
    assert count_macs(network, 1, 3, 8, 112, 112) / 1e9 == pytest.approx(gmacs, rel=5e-4)
