"""Schedules, keyed random numbers, cost, networks, doctests."""

import doctest
import importlib
import math
import pkgutil

import pytest
import torch
from torchvision.models.video import r3d_18

import dsn_lightning
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.observations.shared import SharedObservation
from dsn_lightning.observations.whole_video import VideoObservation
from dsn_lightning.schedules import Cosine, MultiStep
from dsn_lightning.stateless_random import stateless_rng, stateless_uniforms


def modules():
    return [m.name for m in pkgutil.walk_packages(dsn_lightning.__path__, "dsn_lightning.")]


@pytest.mark.parametrize("name", modules())
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_papers_schedule():
    schedule = MultiStep(70, milestones=(45, 60))
    assert [schedule.factor(e) for e in (0, 44, 45, 59, 60, 69)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_warms_up_and_falls_to_zero():
    schedule = Cosine(10, warmup_epochs=2)
    assert schedule.factor(0) < 0.01
    assert schedule.factor(1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 10)) / 2, rel=0.01)
    assert schedule.factor(10) == pytest.approx(0)
    assert all(schedule.factor(e) >= schedule.factor(e + 0.5) for e in range(2, 10))


def test_keyed_numbers_depend_on_every_part_of_the_key():
    keys = [(0, 1, "a", "x"), (1, 1, "a", "x"), (0, 2, "a", "x"), (0, 1, "b", "x"), (0, 1, "a", "y")]
    assert len({stateless_rng(*key).random() for key in keys}) == len(keys)


def test_keyed_uniforms_do_not_depend_on_the_batch_or_on_m():
    one = stateless_uniforms(["b"], 2, seed=0, epoch=3, purpose="p")
    two = stateless_uniforms(["a", "b"], 5, seed=0, epoch=3, purpose="p")
    assert torch.equal(one[0], two[1, :2])


def test_r3d_18_equals_torchvisions():
    torch.manual_seed(0)
    theirs, ours = r3d_18(num_classes=7).eval(), ResNet3D(7).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(clips), theirs(clips), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "gmacs"),
    [
        (ResNet3D(0), 20.348),
        (ResNet2D(0), 1.932),
    ],  # Table III: 203.6 G for 10 clips; sampler 9.4% of one
)
def test_macs_are_the_papers(network, gmacs):
    assert count_macs(network, 1, 3, 8, 112, 112) / 1e9 == pytest.approx(gmacs, rel=5e-4)


def test_resnet2d_sees_the_middle_frames():
    net = ResNet2D(2, num_frames=4, stem_width=8, widths=(8,), blocks=(1,)).eval()
    clips = torch.randn(2, 3, 8, 16, 16)
    changed = clips.clone()
    changed[:, :, [0, 1, 6, 7]] = 0
    assert torch.equal(net(clips), net(changed))
    changed[:, :, 2] = 0
    assert not torch.equal(net(clips), net(changed))


def test_resnet2d_refuses_short_clips():
    with pytest.raises(ValueError, match="too short"):
        ResNet2D(2, num_frames=8)(torch.randn(1, 3, 4, 16, 16))


def test_policy_starts_uniform_and_refuses_another_n():
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net = ConcatObservation(trunk, clips_per_section=3).eval()
    assert not net(torch.randn(2, 5, 3, 3, 2, 16, 16)).any()
    with pytest.raises(UsageError, match="N=4"):
        net(torch.randn(2, 5, 4, 3, 2, 16, 16))


def test_shared_head_takes_any_n_and_ignores_the_position():
    trunk = ResNet2D(0, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    net = SharedObservation(trunk).eval()
    torch.nn.init.normal_(net.fc.weight)
    clips = torch.randn(1, 2, 5, 3, 2, 16, 16)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(net(clips)[..., order], net(clips[:, :, order]))


def test_agreement_with_the_video_is_what_its_docstring_says():
    """(q . p_n) to a power, worked out clip by clip; takes any M and N."""
    net = VideoObservation(ResNet2D(4, num_frames=2, stem_width=8, widths=(8,), blocks=(1,)), power=3.0).eval()
    torch.nn.init.normal_(net.fc.weight)
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    with torch.no_grad():
        policy = net(clips).softmax(-1)
        for video in range(2):
            p = torch.stack([net.trunk(clip[None])[0].softmax(-1) for clip in clips[video].flatten(0, 1)])  # (15, J)
            agreement = (p @ p.mean(0)).reshape(3, 5) ** 3
            torch.testing.assert_close(policy[video], agreement / agreement.sum(-1, keepdim=True))


def test_agreement_depends_on_other_sections_but_not_on_other_videos():
    net = VideoObservation(ResNet2D(4, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))).eval()
    torch.nn.init.normal_(net.fc.weight)
    clips = torch.randn(2, 3, 2, 3, 2, 16, 16)
    changed = clips.clone()
    changed[0, 2] = torch.randn(2, 3, 2, 16, 16)
    before, after = net(clips).log_softmax(-1), net(changed).log_softmax(-1)
    assert not torch.allclose(before[0, 0], after[0, 0], atol=1e-6)
    torch.testing.assert_close(before[1], after[1])


def test_agreement_is_certain_and_its_gradient_finite_where_classes_are():
    net = VideoObservation(torch.nn.Flatten()).eval()
    clips = torch.full((1, 1, 2, 3), -200.0)
    clips[0, 0, 0, 1] = clips[0, 0, 1, 2] = 200.0  # each sure of another class
    logits = net(clips[..., None, None])
    logits.sum().backward()
    assert logits.isfinite().all()
    assert net.power.grad is not None
    assert net.power.grad.isfinite()
