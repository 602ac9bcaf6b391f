"""The networks against torchvision's, and what a configuration makes of them."""

import copy

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torchvision import models
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from dsn_lightning.backbones import mobilenet as frames
from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.commands import build
from dsn_lightning.commands.resolvers import torchvision_preset
from dsn_lightning.errors import UsageError
from helpers.synthetic import composed

BACKBONES = ("r3d_tiny", "r2d_tiny", "r3d_18", "r2plus1d_18", "r2plus1d_34", "r2d_18", "mobilenet_v2",
             "mobilenet_v2_middle", "torchvision")  # fmt: skip


def network(backbone: str, num_classes: int = 400, **keys: object) -> nn.Module:
    return instantiate(composed(f"backbone={backbone}").backbone.network, num_classes=num_classes, **keys)


def with_statistics(module: nn.Module) -> nn.Module:
    """Draw batch statistics, too, so that they cannot be left out unnoticed."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return module.eval()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
def test_torchvisions_outputs_to_the_last_bit(name, channels_last):
    theirs = with_statistics(models.get_model(name, weights=None))
    ours = network(name, channels_last=channels_last).eval()
    ours.load_state_dict(theirs.state_dict())  # the same names and shapes
    if channels_last:
        theirs = theirs.to(memory_format=torch.channels_last_3d)
    clips = torch.randn(2, 3, 4, 48, 48)
    with torch.no_grad():
        assert torch.equal(ours(clips), theirs(clips))


def ig65m(num_classes: int) -> nn.Module:
    """R(2+1)D-34 as its public weights have it, put together from torchvision's parts."""
    net = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem, num_classes)
    for stage, width, mid in ((net.layer2, 128, 288), (net.layer3, 256, 576), (net.layer4, 512, 1152)):
        stage[0].conv2[0] = Conv2Plus1D(width, width, mid)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.eps = 1e-3
    return net


@pytest.mark.parametrize("num_classes", [359, 400, 487])
def test_r2plus1d_34_has_the_layout_of_its_public_weights(num_classes):
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in ig65m(num_classes).state_dict().items()}
        ours = network("r2plus1d_34", num_classes)
    assert {name: value.shape for name, value in ours.state_dict().items()} == wanted
    assert [getattr(ours, f"layer{i}")[0].conv2[0][0].out_channels for i in (2, 3, 4)] == [288, 576, 1152]
    assert {part.eps for part in ours.modules() if isinstance(part, nn.BatchNorm3d)} == {1e-3}
    if num_classes == 400:
        assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(63.7, abs=0.05)


def test_r2plus1d_34_computes_what_its_public_weights_were_trained_for():
    theirs = with_statistics(ig65m(5))
    ours = network("r2plus1d_34", 5).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(clips), theirs(clips))


@pytest.mark.parametrize(
    ("model", "side", "frames"),
    [("resnet18", 64, 3), ("mobilenet_v3_small", 64, 2), ("squeezenet1_0", 64, 2), ("mc3_18", 32, 4)],
)
def test_any_classifier_of_torchvision(model, side, frames):
    theirs = with_statistics(models.get_model(model, weights=None))
    classes = 400 if model in models.list_models(module=models.video) else 1000
    ours = TorchvisionNetwork(classes, model=model).eval()
    ours.model.load_state_dict(theirs.state_dict())
    clips = torch.randn(2, 3, frames, side, side)
    with torch.no_grad():
        whole = theirs(clips) if ours.takes_clips else theirs(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, -1))
        each = whole if ours.takes_clips else whole.mean(1)
        torch.testing.assert_close(ours(clips), each, rtol=1e-4, atol=1e-5)
        trunk = TorchvisionNetwork(0, model=model).eval()
        assert trunk(clips).shape == (2, trunk.num_features)
        assert TorchvisionNetwork(7, model=model).eval()(clips).shape == (2, 7)
        assert TorchvisionNetwork(7, model=model, in_channels=2).eval()(clips[:, :2]).shape == (2, 7)


@pytest.mark.parametrize(
    "model",
    ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "maxvit_t", "mnasnet0_5", "shufflenet_v2_x0_5",
     "swin_t", "vgg11", "vit_b_32", "mvit_v2_s", "s3d", "swin3d_t"],
)  # fmt: skip
def test_each_family_of_torchvision_has_a_classification_layer(model):
    with torch.device("meta"):
        ours = TorchvisionNetwork(11, model=model)
    assert [getattr(ours.fc, key, 11) for key in ("out_features", "out_channels")] == [11, 11]


def test_mobilenet_is_torchvisions():
    theirs = with_statistics(models.mobilenet_v2(weights=None, num_classes=6))
    ours = MobileNetV2(6).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    ours.fc.load_state_dict(theirs.classifier[1].state_dict())
    clips = torch.randn(2, 3, 3, 112, 112)
    with torch.no_grad():
        wanted = torch.stack([theirs(clips[:, :, t]) for t in range(3)], 1).mean(1)
        torch.testing.assert_close(ours(clips), wanted, rtol=1e-4, atol=1e-5)


def test_frozen_blocks_stay_and_may_be_left_out():
    net = MobileNetV2(4, frozen_blocks=15, dropout=0.0)
    before = copy.deepcopy(net.frozen.state_dict())
    clips = torch.randn(2, 3, 3, 64, 64)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        net.train()(clips).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in net.frozen.state_dict().items())
    assert all(p.grad is None for p in net.frozen.parameters())
    net.eval()
    with torch.no_grad():
        activations = net.frozen(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 3)).transpose(1, 2)
        assert activations.shape == (2, 160, 3, 2, 2)
        torch.testing.assert_close(net(activations), net(clips))


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


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_brings_what_goes_with_it(backbone):
    """Each composes alone, with an observation network and clips that it takes, and is told the data's size."""
    cfg = composed(f"backbone={backbone}")
    with torch.device("meta"):
        recognizer = build.build_recognizer(cfg, 5)
    build.check_clips(recognizer, cfg)
    cfg.dataset.root = "none"
    data = build.build_datamodule(cfg)
    b = cfg.backbone
    assert data.reader.frames_per_clip == b.frames_per_clip
    assert data.crop.frame_size == tuple(b.frame_size)
    assert data.crop.crop_size == b.crop_size
    assert data.fps == b.fps


def test_a_backbone_chooses_and_the_user_overrules():
    cfg = composed("backbone=r2plus1d_34")
    assert (cfg.observation.name, cfg.schedule.max_epochs, cfg.schedule.batch_size) == ("r2d_18", 120, 32)
    assert composed("backbone=mobilenet_v2", "observation=r2d_18").observation.name == "r2d_18"
    assert composed().observation.name == "r2d_tiny"


@pytest.mark.parametrize("model", ["resnet50", "swin3d_t", "mvit_v2_s", "r3d_18"])
def test_torchvisions_presets(model):
    """Size, mean, std and address are those that torchvision's weights come with."""
    cfg = composed("backbone=torchvision")
    cfg.backbone.model = model
    weights = models.get_model_weights(model).DEFAULT
    preset = weights.transforms()
    b = OmegaConf.to_container(cfg.backbone, resolve=True)
    assert (b["mean"], b["std"]) == (list(preset.mean), list(preset.std))
    assert b["crop_size"] == preset.crop_size[0]
    assert b["frame_size"][: len(preset.resize_size)] == list(preset.resize_size)
    assert weights.url in b["weights_from"].values()
    assert b["name"] == model
    stated = {"resnet50": (8, None), "swin3d_t": (32, 15), "mvit_v2_s": (16, 7.5), "r3d_18": (16, 15)}
    assert (b["frames_per_clip"], b["fps"]) == stated[model]  # as torchvision's documentation of the weights has it


def test_published_addresses_are_torchvisions():
    known = {
        w.url for name in ("r3d_18", "r2plus1d_18", "mobilenet_v2", "resnet18") for w in models.get_model_weights(name)
    }
    for group, names in {"backbone": BACKBONES[2:], "observation": ("r2d_18", "mobilenet_v2")}.items():
        for name in names:
            addresses = composed(f"{group}={name}")[group].weights_from.values()
            assert all(a is None or a in known or "ig65m" in a or name == "torchvision" for a in addresses)


def test_unknown_models_are_refused():
    with pytest.raises(UsageError, match="model=resnet51: torchvision has no such classifier"):
        TorchvisionNetwork(3, model="resnet51")
    with pytest.raises(UsageError, match="model=resnet51"):
        torchvision_preset("resnet51", "mean")


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("backbone=mobilenet_v2", "observation=r2d_18"), "observation=r2d_18: clips of 4 frames are too short"),
        (("backbone=torchvision", "backbone.model=mvit_v2_s", "backbone.frames_per_clip=8"),
         "mvit_v2_s: does not take clips of 8 frames"),
        (("backbone=torchvision", "backbone.model=vit_b_16", "backbone.crop_size=112"),
         "vit_b_16: does not take clips"),
    ],
)  # fmt: skip
def test_wrong_combinations_are_refused(overrides, complaint):
    cfg = composed(*overrides)
    with torch.device("meta"):
        recognizer = build.build_recognizer(cfg, 5)
    with pytest.raises(UsageError, match=complaint):
        build.check_clips(recognizer, cfg)


def test_frames_in_parts_make_no_difference(monkeypatch):
    torch.manual_seed(0)
    network = MobileNetV2(3, dropout=0.0)
    clips = torch.randn(5, 3, 8, 32, 32)  # 40 frames

    def answers_and_gradient(frames_at_once):
        monkeypatch.setattr(frames, "_AT_ONCE", frames_at_once)
        network.zero_grad()
        logits = network(clips)
        logits.logsumexp(-1).sum().backward()
        return logits.detach(), network.features[0][0].weight.grad.clone()

    whole, parts = answers_and_gradient(40), answers_and_gradient(16)
    assert torch.equal(whole[0], parts[0])  # batch norm is trained, and sees all frames
    network.eval()
    whole, parts = answers_and_gradient(40), answers_and_gradient(16)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)
