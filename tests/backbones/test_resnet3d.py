"""3-D ResNets against torchvision's."""

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torchvision import models
from torchvision.models.video import r3d_18
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.errors import UsageError
from helpers.networks import with_statistics
from helpers.synthetic import composed


def test_r3d_18_equals_torchvisions():
    torch.manual_seed(0)
    theirs, ours = r3d_18(num_classes=7).eval(), ResNet3D(7).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(clips), theirs(clips), atol=1e-5, rtol=1e-5)


def network(backbone: str, num_classes: int = 400, **keys: object) -> nn.Module:
    return instantiate(composed(f"backbone={backbone}").backbone.network, num_classes=num_classes, **keys)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
def test_outputs_equal_torchvisions_to_the_last_bit(name, channels_last):
    theirs = with_statistics(models.get_model(name, weights=None))
    ours = network(name, channels_last=channels_last).eval()
    ours.load_state_dict(theirs.state_dict())  # the same names and shapes
    if channels_last:
        theirs = theirs.to(memory_format=torch.channels_last_3d)
    clips = torch.randn(2, 3, 4, 48, 48)
    with torch.no_grad():
        assert torch.equal(ours(clips), theirs(clips))


@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
def test_channels_last_follows_the_device(name):
    """The meta device stands for a GPU: its tensors have strides, too."""
    formats = (torch.contiguous_format, torch.channels_last_3d)
    net = network(name, 3)
    weights = [part for part in net.modules() if isinstance(part, nn.Conv3d) and part.kernel_size != (1, 1, 1)]

    def are(memory_format):
        return all(part.weight.is_contiguous(memory_format=memory_format) for part in weights)

    assert are(formats[0])
    nn.Sequential(net).to("meta")  # as a part of what is moved
    assert are(formats[1])
    assert not are(formats[0])
    net.to_empty(device="cpu")
    assert are(formats[0])
    assert network(name, 3, channels_last=False).to("meta").stem[0].weight.is_contiguous()


def test_other_values_of_channels_last_are_refused():
    with pytest.raises(UsageError, match="channels_last=always: must be true, false or auto"):
        ResNet3D(3, channels_last="always")


@pytest.mark.parametrize("conv", ["simple", "r2plus1d"])
def test_checkpointed_activations_change_neither_gradients_nor_statistics_and_take_less_memory(conv):
    results, sizes = [], []
    for again in (False, True):
        torch.manual_seed(0)
        width = 64 if conv == "r2plus1d" else 8
        net = ResNet3D(3, conv=conv, stem_width=width, widths=[8, 16], blocks=[1, 2], checkpoint_activations=again)
        kept = []  # activations between the passes, of the network and of its blocks
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: (kept.append(x.numel()), x)[1], lambda x: x):
            loss = net(torch.rand(2, 3, 4, 16, 16)).logsumexp(-1).sum()
        loss.backward()
        sizes.append(sum(kept))
        results.append({**{n: p.grad for n, p in net.named_parameters()}, **dict(net.named_buffers())})
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
    assert results[1]["layer1.0.conv1.1.num_batches_tracked"] == 1
    assert sizes[1] < sizes[0] / 4
    assert ResNet3D(3, checkpoint_activations=True).eval()(torch.rand(1, 3, 2, 16, 16)).shape == (1, 3)


def ig65m(num_classes: int) -> nn.Module:
    """R(2+1)D-34 of the public weights, from torchvision's parts."""
    net = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem, num_classes)
    for stage, width, mid in ((net.layer2, 128, 288), (net.layer3, 256, 576), (net.layer4, 512, 1152)):
        stage[0].conv2[0] = Conv2Plus1D(width, width, mid)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.eps = 1e-3
    return net


@pytest.mark.parametrize("num_classes", [359, 400, 487])
def test_r2plus1d_34_has_the_layers_of_its_public_weights(num_classes):
    with torch.device("meta"):
        expected = {name: value.shape for name, value in ig65m(num_classes).state_dict().items()}
        ours = network("r2plus1d_34", num_classes)
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected
    assert [getattr(ours, f"layer{i}")[0].conv2[0][0].out_channels for i in (2, 3, 4)] == [288, 576, 1152]
    assert {part.eps for part in ours.modules() if isinstance(part, nn.BatchNorm3d)} == {1e-3}
    if num_classes == 400:
        assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(63.7, abs=0.05)


def test_r2plus1d_34_equals_the_network_of_its_public_weights():
    theirs = with_statistics(ig65m(5))
    ours = network("r2plus1d_34", 5).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(clips), theirs(clips))
