"""The contract of observation networks, for every configuration and for networks that break it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import MeanClassifier
from dsn_lightning.backbones.clip_network import check_clip_network
from dsn_lightning.config.build import build_observation
from dsn_lightning.config.build_part import build_part
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.network_costs import clip_shape
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import shared_settings, training_fingerprint
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import check_observation_network, may_skip
from dsn_lightning.observations.shared import SharedObservation
from helpers.synthetic import composed

CONF = Path(__file__).resolve().parents[2] / "conf"
OBSERVATIONS = sorted(file.stem for file in (CONF / "observation").glob("*.yaml"))


def built(settings: Settings, num_classes: int = 5) -> nn.Module:
    return build_observation(settings.observation, num_classes=num_classes, modality=settings.dataset.modality)


@pytest.mark.parametrize(("modality", "skips"), [("rgb", False), ("flow", True)])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_every_observation_network_satisfies_the_contract(observation, modality, skips):
    settings = composed(
        f"observation={observation}", "N=3", f"dataset.modality={modality}", f"observation.network.may_skip={skips}"
    )
    with torch.device("meta"):
        network = built(settings).eval()
        logits = network(torch.empty(1, 2, 3, *clip_shape(settings.backbone, modality=modality)))
    assert logits.shape == (1, 2, 3 + skips)
    assert may_skip(network) == skips
    assert network.clips_per_section in (None, 3)
    assert all(parameter.requires_grad for parameter in network.get_submodule(network.head).parameters())


@pytest.mark.parametrize("observation", [name for name in OBSERVATIONS if name.startswith("r2d_tiny")])
def test_every_policy_can_learn_to_keep_nothing(observation):
    torch.manual_seed(0)
    settings = composed(f"observation={observation}", "N=3", "observation.network.may_skip=true")
    network = built(settings).eval()
    clips = torch.randn(1, 2, 3, *clip_shape(settings.backbone, modality="rgb"))
    skipped = network(clips).softmax(-1)[..., 3]
    assert ((skipped > 0.1) & (skipped < 0.5)).all()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)  # a step of 0.1 is too long for the section's maximum
    for _ in range(100):
        optimizer.zero_grad()
        (-network(clips).log_softmax(-1)[..., 3].sum()).backward()
        optimizer.step()
    assert (network(clips).softmax(-1)[..., 3] > skipped + 0.2).all()


def test_a_network_that_does_not_say_so_cannot_skip():
    assert not may_skip(nn.Linear(1, 1))


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_every_clip_classifier_fits_the_trunk(observation):
    """But for the classification layer."""
    settings = composed(f"observation={observation}")
    with torch.device("meta"):
        trunk = built(settings).trunk
        classifier = build_part(
            settings.observation.clip_classifier["network"], "clip_classifier.network", num_classes=5
        )
    check_clip_network(classifier, key="x")
    shapes = [
        {name: value.shape for name, value in network.state_dict().items() if not name.startswith(f"{network.head}.")}
        for network in (trunk, classifier)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("dsn", "by_hand"),
    [
        (["backbone=r3d_tiny", "observation=r2d_tiny"], ["backbone=r2d_tiny"]),
        (["backbone=r3d_tiny", "observation=r2d_tiny_shared"], ["backbone=r2d_tiny"]),
        (["backbone=r3d_tiny", "observation=r2d_tiny_video"], ["backbone=r2d_tiny"]),
        (["backbone=r3d_18"], ["weights=imagenet", "backbone=r2d_18"]),
        (["backbone=mobilenet_v2"], ["backbone=mobilenet_v2_middle"]),
        (["backbone=mobilenet_v2", "observation=mobilenet_v2_video"], ["backbone=mobilenet_v2_middle"]),
        (["backbone=movinet_a0"], ["backbone=movinet_a0_middle"]),
        (["backbone=movinet_a0_stream"], ["backbone=movinet_a0_stream_middle"]),
        (["backbone=x3d_s"], ["backbone=x3d_s_middle"]),
        (
            ["backbone=torchvision", "backbone.model=resnet18", "observation.model=resnet18"],
            ["backbone=torchvision", "backbone.model=resnet18", "+backbone.network.num_frames=1"],
        ),
    ],
    ids=lambda overrides: overrides[-1].split("=")[1],
)
def test_auto_trains_the_clip_classifier_that_a_backbone_names(dsn, by_hand):
    common = ["dataset=hmdb51", "dataset.root=a", "run_dir=none"]
    auto = shared_settings(settings_of(*common, *dsn), "max_response")
    same = settings_of("algorithm=baseline", *common, *by_hand)
    assert training_fingerprint(auto) == training_fingerprint(same)


class Headless(nn.Module):
    """Has a trunk that is no clip network, and no other attributes but one of another type."""

    may_skip = 1

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 3)


def test_one_error_lists_all_that_is_wrong_with_a_network():
    with pytest.raises(UsageError) as caught:
        check_observation_network(Headless(), key="observation.network")
    message = str(caught.value)
    assert message.startswith("observation.network: Headless does not satisfy dsn_lightning.observations.Observation")
    for part in (
        "missing clips_per_section (int or None: ",
        "missing head (str: ",
        "may_skip: expected bool, got int",
        "trunk (Linear): missing in_channels (int: ",
        "trunk (Linear): missing num_features (int: ",
    ):
        assert part in message
    assert "\n" not in message


def test_a_trunk_is_checked_where_it_is_used_and_the_key_is_named():
    with pytest.raises(UsageError, match=r"^trunk: Linear does not satisfy dsn_lightning.backbones.ClipNetwork"):
        SharedObservation(nn.Linear(3, 3))
    trunk = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 3}
    settings = composed("observation=r2d_tiny_shared").changed({"observation.network.trunk": trunk})
    with pytest.raises(UsageError, match=r"^observation\.network\.trunk: Linear does not satisfy"):
        built(settings)
    assert SharedObservation(MeanClassifier(0))(torch.rand(2, 4, 3, 2, 4, 4)).shape == (2, 4)


def test_wrong_arguments_are_refused_with_their_key():
    with pytest.raises(UsageError, match=r"^observation\.network\.power=0: must be above 0$"):
        built(composed("observation=r2d_tiny_video", "observation.network.power=0"))
    settings = composed("observation=mobilenet_v2", "observation.network.trunk.frozen_blocks=20")
    with pytest.raises(UsageError, match=r"^observation\.network\.trunk\.frozen_blocks=20: must be from 0 to 19"):
        built(settings)
