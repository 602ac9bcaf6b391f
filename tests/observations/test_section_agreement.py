"""The observation network that compares the class scores of a section's clips."""

import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.config.trained import load_trained
from dsn_lightning.errors import UsageError
from dsn_lightning.observations import SectionObservation
from helpers.processes import call


def trunk(num_classes=4):
    torch.manual_seed(0)
    network = ResNet2D(num_classes, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    if num_classes:
        torch.nn.init.normal_(network.fc.weight)
    return network


def test_policy_is_agreement_times_confidence_times_class_weights():
    """The formula of the docstring, computed section by section and clip by clip."""
    net = SectionObservation(trunk(), agreement=3.0, confidence=1.5, sharpness=0.7).eval()
    torch.nn.init.normal_(net.scorer.class_weights)
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    with torch.no_grad():
        policy = net(clips).softmax(-1)
        for section, found in zip(clips.flatten(0, 1), policy.flatten(0, 1), strict=True):
            logits = torch.stack([net.trunk(clip[None])[0] for clip in section])  # (5, J)
            r = (0.7 * logits).softmax(-1)
            weights = (r @ r.mean(0)) ** 3 * logits.softmax(-1).max(-1).values ** 1.5
            weights *= (r @ net.scorer.class_weights).exp()
            torch.testing.assert_close(found, weights / weights.sum())


def test_policy_depends_on_its_section_alone_and_not_on_the_order_of_its_clips():
    net = SectionObservation(trunk()).eval()
    clips = torch.randn(2, 3, 4, 3, 2, 16, 16)
    order = torch.tensor([2, 0, 3, 1])
    changed = clips.clone()
    changed[0, 2] = torch.randn(4, 3, 2, 16, 16)
    policy, reordered, other = (net(x).softmax(-1) for x in (clips, clips[:, :, order], changed))
    torch.testing.assert_close(reordered, policy[..., order])
    torch.testing.assert_close(other[:, :2], policy[:, :2])
    torch.testing.assert_close(other[1], policy[1])
    assert not torch.allclose(other[0, 2], policy[0, 2], atol=1e-4)


def test_without_agreement_the_most_probable_clip_is_that_of_max_response():
    net = SectionObservation(trunk(), agreement=0.0).eval()
    clips = torch.randn(3, 4, 5, 3, 2, 16, 16)
    with torch.no_grad():
        response = net.trunk(clips.flatten(0, 2)).softmax(-1).amax(-1).reshape(3, 4, 5)
        assert torch.equal(net(clips).argmax(-1), response.argmax(-1))


def test_a_section_is_skipped_if_its_clips_weigh_less_than_one_that_tells_nothing():
    net, other = (SectionObservation(trunk(), may_skip=skip).eval() for skip in (False, True))
    for head in (net.scorer, other.scorer):
        head.class_weights.data = torch.linspace(-1, 1, 4)
    torch.nn.init.constant_(other.scorer.skip_bias, 0.5)
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    weights = net(clips).exp()
    even = SectionObservation(trunk()).scorer
    even.class_weights.data = torch.linspace(-1, 1, 4)
    nothing = even(torch.zeros(1, 4)).exp() * torch.e**0.5  # a section of one clip with equal class scores
    expected = torch.cat([weights, nothing.expand(2, 3, 1)], -1)
    torch.testing.assert_close(other(clips).softmax(-1), expected / expected.sum(-1, keepdim=True))


def test_gradient_is_finite_where_class_probabilities_are_0_or_1():
    scorer = SectionObservation(trunk()).scorer
    scores = torch.tensor([[500.0, 0.0, -500.0, 0.0], [0.0, 500.0, 0.0, -500.0]], requires_grad=True)
    logits = scorer(scores)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in (scores, *scorer.parameters()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agreement": -1}, "agreement=-1: must be at least 0"),
        ({"confidence": -0.5}, "confidence=-0.5: must be at least 0"),
        ({"sharpness": 0}, "sharpness=0: must be above 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        SectionObservation(trunk(), **arguments)


def test_a_trunk_without_classes_is_refused():
    with pytest.raises(UsageError, match="expected a clip classifier"):
        SectionObservation(trunk(0))


def test_it_starts_from_a_trained_classifier_and_its_head_learns(needle_root, tmp_path):
    """dsn-train with observation.checkpoint=auto; its run loads again."""
    arguments = [
        f"dataset.root={needle_root}",
        *NEEDLE,
        "schedule.max_epochs=2",
        "schedule.batch_size=6",
        "algorithm.warmup_epochs=1",
        "trainer.accelerator=cpu",
        "observation=r2d_tiny_section",
        "observation.network.may_skip=true",
        "observation.checkpoint=auto",
        "test.enabled=false",
        "M=2",
        "N=3",
    ]
    call("dsn-train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    network = load_trained(str(tmp_path / "run/checkpoints/last.ckpt"), key="run").recognizer.observation
    assert isinstance(network, SectionObservation)
    assert network.scorer.class_weights.shape == (4,)
    assert network.scorer.class_weights.any()
    assert network.scorer.skip_bias != 0
    start = next((tmp_path / "outputs").rglob("*r2d_tiny*/checkpoints/last.ckpt"))
    layer = load_trained(str(start), key="start").recognizer.classifier.fc.weight
    assert 0 < (network.trunk.fc.weight - layer).abs().max() < 0.1  # from there, not from random numbers
