"""The observation network that compares clips with the whole video."""

import math

import numpy as np
import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.config.initial_weights import take_trunk
from dsn_lightning.config.trained import load_trained
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.observations.whole_video import VideoObservation
from helpers.processes import call


def test_policy_is_the_power_of_the_agreement_with_the_video():
    """(q . p_n) to a power, computed clip by clip."""
    net = VideoObservation(ResNet2D(4, num_frames=2, stem_width=8, widths=(8,), blocks=(1,)), power=3.0).eval()
    torch.nn.init.normal_(net.trunk.fc.weight)
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    with torch.no_grad():
        policy = net(clips).softmax(-1)
        for video in range(2):
            p = torch.stack([net.trunk(clip[None])[0].softmax(-1) for clip in clips[video].flatten(0, 1)])  # (15, J)
            agreement = (p @ p.mean(0)).reshape(3, 5) ** 3
            torch.testing.assert_close(policy[video], agreement / agreement.sum(-1, keepdim=True))


def test_policy_depends_on_other_sections_not_on_other_videos():
    torch.manual_seed(0)
    net = VideoObservation(ResNet2D(4, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))).eval()
    torch.nn.init.normal_(net.trunk.fc.weight)
    clips = torch.randn(2, 3, 2, 3, 2, 16, 16)
    changed = clips.clone()
    changed[0, 2] = torch.randn(2, 3, 2, 16, 16)
    before, after = net(clips).log_softmax(-1), net(changed).log_softmax(-1)
    assert not torch.allclose(before[0, 0], after[0, 0], atol=1e-6)
    torch.testing.assert_close(before[1], after[1])


def test_a_section_is_skipped_if_its_clips_agree_less_than_those_of_the_video():
    torch.manual_seed(0)
    trunk = ResNet2D(4, num_frames=2, stem_width=8, widths=(8,), blocks=(1,))
    torch.nn.init.normal_(trunk.fc.weight)
    net, other = (VideoObservation(trunk, may_skip=skip).eval() for skip in (False, True))
    clips = torch.randn(2, 3, 5, 3, 2, 16, 16)
    weights = net(clips).exp()  # of the clips in the policy, up to a factor of the video
    for bias in (0.0, 1.5):
        torch.nn.init.constant_(other.skip_bias, bias)
        skip = math.exp(bias) * weights.mean((1, 2))[:, None].expand(2, 3)
        expected = torch.cat([weights, skip[..., None]], -1)
        torch.testing.assert_close(other(clips).softmax(-1), expected / expected.sum(-1, keepdim=True))


class Pixels(torch.nn.Module):
    """A clip classifier whose logits are the clip's pixels."""

    in_channels = num_features = 3
    head = "layer"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Flatten()

    def forward(self, clips):
        return self.layer(clips)


def test_gradient_is_finite_where_class_probabilities_are_0_or_1():
    net = VideoObservation(Pixels()).eval()
    clips = torch.full((1, 1, 2, 3), -200.0)
    clips[0, 0, 0, 1] = clips[0, 0, 1, 2] = 200.0  # each sure of another class
    logits = net(clips[..., None, None])
    logits.sum().backward()
    assert logits.isfinite().all()
    assert net.power.grad is not None
    assert net.power.grad.isfinite()


def test_the_first_policy_is_that_of_the_max_response_network(needle_root, tmp_path):
    """The policy before any reward, from the scores of the max-response network for each clip."""
    arguments = [
        f"dataset.root={needle_root}",
        *NEEDLE,
        "schedule.max_epochs=1",
        "schedule.batch_size=6",
        "algorithm.warmup_epochs=0",
        "trainer.accelerator=cpu",
        "progress=false",
        "algorithm=dsn_fixed",
        "observation=r2d_tiny_video",
        "classifier.checkpoint=auto",
        "observation.checkpoint=auto",
        "test.max_response=auto",
        "M=2",
        "N=3",
        "schedule.sampler_lr=1e-12",
        "schedule.batch_norm=frozen",
        "shared.folder=shared",
    ]
    call("dsn-train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    scores = ClipScores.load(tmp_path / "run" / "clip_scores.npz")
    logits = {
        (v, s): row
        for v, s, n, row in zip(
            scores.clip_video, scores.clip_start, scores.clip_network, scores.clip_logits, strict=True
        )
        if n == "max_response"
    }
    scheme = scores.scheme(2, 3)
    for v, num_frames in enumerate(scores.num_frames):
        p = torch.tensor(np.stack([logits[v, int(s)] for s in scheme.grid(int(num_frames)).ravel()])).softmax(-1)
        agreement = (p @ p.mean(0)).reshape(2, 3) ** 2
        policy = torch.tensor(scores.section_logits[scores.section_video == v])
        torch.testing.assert_close(
            policy.softmax(-1), agreement / agreement.sum(-1, keepdim=True), rtol=1e-3, atol=1e-4
        )

    checkpoint = next((tmp_path / "shared").glob("needle_r2d_tiny_*")) / "checkpoints" / "last.ckpt"
    trained = load_trained(str(checkpoint), key="observation.checkpoint")
    with pytest.raises(UsageError, match=r"observation\.checkpoint=.*was trained for 4 classes .* the data set has 1"):
        take_trunk(trained.recognizer.classifier, trained, classes=["walk"])
