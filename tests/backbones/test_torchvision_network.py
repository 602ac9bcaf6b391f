"""Any classifier of torchvision as a clip network."""

import pytest
import torch
from torch import nn
from torchvision import models

from dsn_lightning.backbones.clip_network import classification_layer
from dsn_lightning.backbones.torchvision_network import TorchvisionNetwork
from dsn_lightning.config.resolvers import torchvision_preset
from dsn_lightning.errors import UsageError
from helpers.networks import with_statistics
from helpers.synthetic import composed


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
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "maxvit_t",
        "mnasnet0_5",
        "shufflenet_v2_x0_5",
        "swin_t",
        "vgg11",
        "vit_b_32",
        "mvit_v2_s",
        "s3d",
        "swin3d_t",
    ],
)
def test_each_family_of_torchvision_has_a_classification_layer(model):
    with torch.device("meta"):
        ours = TorchvisionNetwork(11, model=model)
    last = classification_layer(ours)
    assert (last.out_features if isinstance(last, nn.Linear) else last.out_channels) == 11


@pytest.mark.parametrize("model", ["resnet50", "swin3d_t", "mvit_v2_s", "r3d_18"])
def test_presets_are_those_of_torchvisions_weights(model):
    """Size, mean, std and address, frames and frame rate."""
    backbone = composed("backbone=torchvision", f"backbone.model={model}").plain["backbone"]
    weights = models.get_model_weights(model).DEFAULT
    preset = weights.transforms()
    assert (backbone["mean"], backbone["std"]) == (list(preset.mean), list(preset.std))
    assert backbone["crop_size"] == preset.crop_size[0]
    assert backbone["frame_size"][: len(preset.resize_size)] == list(preset.resize_size)
    assert weights.url in backbone["weights_from"].values()
    assert backbone["name"] == model
    stated = {"resnet50": (8, None), "swin3d_t": (32, 15), "mvit_v2_s": (16, 7.5), "r3d_18": (16, 15)}
    assert (backbone["frames_per_clip"], backbone["fps"]) == stated[
        model
    ]  # as torchvision's documentation of the weights has it


def test_unknown_models_are_refused():
    with pytest.raises(UsageError, match="model=resnet51: torchvision has no such classifier"):
        TorchvisionNetwork(3, model="resnet51")
    with pytest.raises(UsageError, match="model=resnet51"):
        torchvision_preset("resnet51", "mean")
