"""MobileNetV2 against torchvision's, and its frozen blocks."""

import copy

import torch
from torchvision import models

from dsn_lightning.backbones import mobilenet as frames
from dsn_lightning.backbones.mobilenet import MobileNetV2
from helpers.networks import with_statistics


def test_logits_equal_torchvisions_averaged_over_frames():
    theirs = with_statistics(models.mobilenet_v2(weights=None, num_classes=6))
    ours = MobileNetV2(6).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    ours.fc.load_state_dict(theirs.classifier[1].state_dict())
    clips = torch.randn(2, 3, 3, 112, 112)
    with torch.no_grad():
        expected = torch.stack([theirs(clips[:, :, t]) for t in range(3)], 1).mean(1)
        torch.testing.assert_close(ours(clips), expected, rtol=1e-4, atol=1e-5)


def test_frozen_blocks_stay_unchanged_and_can_be_skipped():
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


def test_splitting_frames_does_not_change_the_output(monkeypatch):
    torch.manual_seed(0)
    network = MobileNetV2(3, dropout=0.0)
    clips = torch.randn(5, 3, 8, 32, 32)  # 40 frames

    def answers_and_gradient(frames_at_once):
        monkeypatch.setattr(frames, "_FRAMES_AT_ONCE", frames_at_once)
        network.zero_grad()
        logits = network(clips)
        logits.logsumexp(-1).sum().backward()
        return logits.detach(), network.features[0][0].weight.grad.clone()

    whole, parts = answers_and_gradient(40), answers_and_gradient(16)
    assert torch.equal(whole[0], parts[0])  # batch norm in training mode sees all frames
    network.eval()
    whole, parts = answers_and_gradient(40), answers_and_gradient(16)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)


def test_an_exported_graph_takes_any_number_of_clips():
    network = MobileNetV2(5, frozen_blocks=17).eval()
    clips = torch.randn(9, 3, 4, 32, 32)
    axes = {"clips": {0: torch.export.Dim("clips", min=1)}}
    with torch.no_grad():
        graph = torch.export.export(network, (clips[:2],), dynamic_shapes=axes).module()
        for count in (1, 9):  # 4 frames, and more than are computed at once
            torch.testing.assert_close(graph(clips[:count]), network(clips[:count]))
