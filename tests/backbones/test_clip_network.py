"""The contract of clip networks, for every configuration and for networks that break it; the frames they look at."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from conftest import MeanClassifier
from dsn_lightning.backbones.clip_network import check_clip_network, classification_layer, frozen_part
from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.config.build import build_classifier, build_datamodule, build_recognizer
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import check_clips
from dsn_lightning.errors import UsageError
from helpers.own_networks import needed_by
from helpers.synthetic import composed

CONF = Path(__file__).resolve().parents[2] / "conf"
BACKBONES = sorted(file.stem for file in (CONF / "backbone").glob("*.yaml"))
OTHERS = (
    "https://github.com/moabitcoin/ig65m-pytorch/",
    "https://github.com/Atze00/MoViNet-pytorch/",
    "https://dl.fbaipublicfiles.com/pytorchvideo/",
)
"""Where the weights of networks that torchvision lacks are."""
OURS = [name for name in BACKBONES if name != "custom"]


def configured(backbone: str, *overrides: str) -> Settings:
    """Return the settings of a backbone; the user's own is `MeanClassifier`."""
    return composed(f"backbone={backbone}", *needed_by(backbone), *overrides)


def built(settings: Settings, num_classes: int) -> nn.Module:
    return build_classifier(settings.backbone, num_classes=num_classes, modality=settings.dataset.modality)


@pytest.mark.parametrize("channels", [3, 2], ids=["rgb", "flow"])
@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "exported"])  # of RGB and with classes only
def test_every_backbone_satisfies_the_contract(name, channels):
    settings = configured(name, f"dataset.modality={'rgb' if channels == 3 else 'flow'}")
    backbone = settings.backbone
    size = (backbone.frames_per_clip, backbone.crop_size, backbone.crop_size)
    with torch.device("meta"):
        clips = torch.empty(2, channels, *size)
        for num_classes in (5, 0):
            network = built(settings, num_classes).eval()
            assert network.in_channels == channels
            assert network(clips).shape == (2, num_classes or network.num_features)
            assert isinstance(classification_layer(network), nn.Identity) == (num_classes == 0)
            first = next((m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
            assert first is None or first.in_channels == network.stacked_frames * channels
            if network.frozen_blocks:
                activations = torch.stack([frozen_part(network)(frame) for frame in clips.unbind(2)], 2)
                assert network(activations).shape == (2, num_classes or network.num_features)


class Incomplete(nn.Module):
    """Lacks three attributes, and has two wrong ones."""

    in_channels = 3
    stacked_frames = "8"
    head = "last"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, num_classes)


def test_one_error_lists_all_that_is_wrong_with_a_network():
    with pytest.raises(UsageError) as caught:
        check_clip_network(Incomplete(2), key="backbone.network")
    message = str(caught.value)
    assert message.startswith("backbone.network: Incomplete does not satisfy dsn_lightning.backbones.ClipNetwork: ")
    for part in (
        "missing num_features (int: ",
        "head=last: no such layer",
        "stacked_frames: expected int, got str",
        "missing frozen_blocks (int: ",
        "class attributes are enough",
    ):
        assert part in message
    assert "in_channels" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("attribute", "value", "complaint"),
    [
        ("in_channels", 0, "in_channels=0: must be at least 1"),
        ("frozen_blocks", -1, "frozen_blocks=-1: must be at least 0"),
        ("frozen_blocks", 2, "frozen_blocks=2: these blocks must be available as the module frozen"),
        ("stacked_frames", True, "stacked_frames: expected int, got bool"),
    ],
)
def test_wrong_values_of_attributes_are_refused(attribute, value, complaint):
    network = MeanClassifier(2)
    check_clip_network(network, key="x")
    setattr(network, attribute, value)
    with pytest.raises(UsageError, match=complaint):
        check_clip_network(network, key="x")


def test_building_checks_the_contract_and_names_the_key():
    settings = composed("backbone=custom", f"backbone.network._target_={__name__}.Incomplete")
    with pytest.raises(UsageError, match=r"^backbone\.network: Incomplete does not satisfy"):
        built(settings, 2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("backbone=r2plus1d_18", "backbone.network.conv=x"), "backbone.network.conv=x: must be simple or r2plus1d"),
        (
            ("backbone=mobilenet_v2", "backbone.network.frozen_blocks=20"),
            "backbone.network.frozen_blocks=20: must be from 0 to 19, the blocks of MobileNetV2",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_their_key(overrides, message):
    with pytest.raises(UsageError) as caught:
        built(composed(*overrides), 2)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", OURS)
def test_every_backbone_chooses_its_observation_network_and_clips(name):
    """Each composes alone, and sets the size and frame rate that the data module reads."""
    settings = configured(name, "dataset.root=missing")
    with torch.device("meta"):
        recognizer = build_recognizer(settings, 5)
    check_clips(recognizer, settings)
    data, backbone = build_datamodule(settings), settings.backbone
    assert data.reader.frames_per_clip == backbone.frames_per_clip
    assert data.crop.frame_size == backbone.frame_size
    assert data.crop.crop_size == backbone.crop_size
    assert data.reading.fps == settings.plain["backbone"]["fps"]


def test_the_user_overrules_what_a_backbone_chooses():
    settings = composed("backbone=r2plus1d_34")
    schedule = settings.schedule
    assert (settings.observation.name, schedule.max_epochs, schedule.batch_size) == ("r2d_18", 120, 32)
    assert composed("backbone=mobilenet_v2", "observation=r2d_18").observation.name == "r2d_18"
    assert composed().observation.name == "r2d_tiny"


def test_addresses_of_weights_are_torchvisions_or_those_of_the_networks_authors():
    known = {
        w.url for name in ("r3d_18", "r2plus1d_18", "mobilenet_v2", "resnet18") for w in models.get_model_weights(name)
    }
    for group, names in {"backbone": OURS, "observation": ("r2d_18", "mobilenet_v2")}.items():
        for name in names:
            addresses = getattr(composed(f"{group}={name}", *needed_by(name)), group).weights_from.values()
            assert all(a is None or a in known or name == "torchvision" or a.startswith(OTHERS) for a in addresses)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("backbone=mobilenet_v2", "observation=r2d_18"), "observation=r2d_18: clips of 4 frames are too short"),
        (
            ("backbone=torchvision", "backbone.model=mvit_v2_s", "backbone.frames_per_clip=8"),
            "mvit_v2_s: does not take clips of 8 frames",
        ),
        (
            ("backbone=torchvision", "backbone.model=vit_b_16", "backbone.crop_size=112"),
            "vit_b_16: does not take clips",
        ),
    ],
)
def test_wrong_combinations_are_refused(overrides, complaint):
    settings = composed(*overrides)
    with torch.device("meta"):
        recognizer = build_recognizer(settings, 5)
    with pytest.raises(UsageError, match=complaint):
        check_clips(recognizer, settings)


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
