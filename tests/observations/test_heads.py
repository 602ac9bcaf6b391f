"""Heads of several layers: the set of a section's clips, an LSTM over sections, a transformer over a video's clips."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.errors import UsageError
from dsn_lightning.observations import (
    ObservationNetwork,
    RecurrentObservation,
    SetObservation,
    SharedObservation,
    TransformerObservation,
)
from dsn_lightning.observations.video_transformer import encoded_times
from dsn_lightning.prediction.exported import export_model
from helpers.training import Trunk, fit, make_dsn

OF_THE_VIDEO = [RecurrentObservation, TransformerObservation]
ALL = [SetObservation, *OF_THE_VIDEO]


class Pixels(nn.Module):
    """A clip network whose features are the clip's 8 channels."""

    in_channels = num_features = 8
    head = "layer"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Flatten()

    def forward(self, clips):
        return self.layer(clips)


def made(kind: type, *, may_skip: bool = False, seed: int = 0) -> ObservationNetwork:
    """A network whose policy layer does not start at zero."""
    torch.manual_seed(seed)
    network = kind(Pixels(), width=16, may_skip=may_skip)
    for parameter in network.scorer.policy.parameters():
        nn.init.normal_(parameter)
    return network.eval()


def clips_of(features: torch.Tensor) -> torch.Tensor:
    return features[..., None, None, None]


def random_clips(*counts: int) -> torch.Tensor:
    return clips_of(torch.randn(*counts, 8, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("may_skip", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_one_network_takes_any_m_and_n_and_starts_uniform(kind, may_skip):
    network = kind(Pixels(), width=16, may_skip=may_skip).eval()
    for counts in ((2, 1, 1), (2, 3, 2), (1, 6, 5), (4, 3), (2, 2, 3, 4)):
        logits = network(random_clips(*counts))
        assert logits.shape == (*counts[:-1], counts[-1] + may_skip)
        assert not logits.any()


@pytest.mark.parametrize("may_skip", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_gradients_reach_every_parameter(kind, may_skip):
    network = made(kind, may_skip=may_skip).train()
    network(random_clips(2, 3, 4)).log_softmax(-1)[..., 0].sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-6]
    assert without == []


@pytest.mark.parametrize("kind", ALL)
def test_the_choice_among_the_clips_does_not_depend_on_the_arm_that_keeps_nothing(kind):
    without, with_arm = made(kind), made(kind, may_skip=True)
    loaded = with_arm.load_state_dict(without.state_dict(), strict=False)
    assert loaded.missing_keys == ["scorer.policy.skip.weight", "scorer.policy.skip.bias"]
    clips = random_clips(2, 3, 4)
    logits = with_arm(clips)
    torch.testing.assert_close(logits[..., :4], without(clips))
    assert logits[..., 4].std() > 0.01  # it depends on the section


@pytest.mark.parametrize("kind", ALL)
def test_a_section_sees_others_only_in_networks_of_the_video(kind):
    network = made(kind)
    clips = random_clips(2, 3, 4)
    alone = torch.stack([network(clips[:, m : m + 1])[:, 0] for m in range(3)], 1)
    by_video = torch.stack([network(video) for video in clips])
    torch.testing.assert_close(by_video, network(clips))
    same = torch.allclose(alone.log_softmax(-1), network(clips).log_softmax(-1), atol=1e-5)
    assert same == (kind is SetObservation)


def test_clips_in_another_order_have_the_same_logits_in_that_order():
    network, order = made(SetObservation, may_skip=True), torch.tensor([3, 1, 0, 2])
    clips = random_clips(2, 3, 4)
    torch.testing.assert_close(network(clips)[..., order], network(clips[:, :, order])[..., :4])
    torch.testing.assert_close(network(clips)[..., 4], network(clips[:, :, order])[..., 4])
    others = clips.clone()
    others[:, :, 3] = 0  # the first three compare themselves with the fourth
    before, after = (network(given)[..., :3].log_softmax(-1) for given in (clips, others))
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_order_of_a_sections_clips_matters_to_the_transformer_alone():
    clips, order = random_clips(2, 3, 4), torch.tensor([3, 1, 0, 2])
    for kind in OF_THE_VIDEO:
        network = made(kind)
        same = torch.allclose(network(clips)[..., order], network(clips[:, :, order]), atol=1e-5)
        assert same == (kind is RecurrentObservation)


def test_times_are_relative_to_the_video():
    assert encoded_times(6, like=torch.zeros(1)).shape == (6, 12)
    angle = math.pi * 2 * (3.5 / 6)  # of the second octave for the fourth of 6 clips
    found = encoded_times(6, like=torch.zeros(1))[3, [1, 7]].tolist()
    assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)
    torch.testing.assert_close(encoded_times(2, like=torch.zeros(1)), encoded_times(6, like=torch.zeros(1))[[1, 4]])
    assert encoded_times(6, like=torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SetObservation, {"width": 30}, "width=30: must be a multiple of num_heads=4"),
        (TransformerObservation, {"width": 10, "num_heads": 3}, "width=10: must be a multiple of num_heads=3"),
        (RecurrentObservation, {"width": 7}, "width=7: must be even"),
    ],
)
def test_widths_that_cannot_be_divided_are_refused(kind, arguments, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        kind(Pixels(), **arguments)


def test_multiply_adds_by_hand():
    """Of 2 videos of 3 sections of 4 clips: D = 8, W = 16."""
    clips, attended = 24, {SetObservation: 4, TransformerObservation: 12}
    for kind, keys in attended.items():
        attention = 16 * 48 + 2 * keys * 16 + 16 * 16  # queries, keys and values; two products; output
        hidden = 2 * 16 * 32
        times = 12 * (12 * 16)  # once for the 12 times of both videos
        layers, more = (1, 0) if kind is SetObservation else (2, times)
        expected = clips * (8 * 16 + layers * (attention + hidden) + 16) + more
        assert count_macs(made(kind), 2, 3, 4, 8, 1, 1, 1) == expected
    lstm = 6 * 2 * 4 * 8 * (16 + 8)  # sections, directions, gates, state, input and state
    expected = clips * (8 * 16 + 32 * 16 + 16) + lstm
    assert count_macs(made(RecurrentObservation), 2, 3, 4, 8, 1, 1, 1) == expected
    assert count_macs(made(RecurrentObservation, may_skip=True), 2, 3, 4, 8, 1, 1, 1) == expected + 6 * 16


def odd_one_out(batch: int, m: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, and the rewarded clips: that of each section whose first feature has the other sign."""
    right = nn.functional.one_hot(torch.randint(n, (batch, m)), n).float()
    sign = torch.randint(2, (batch, m, 1)) * 2 - 1
    features = 0.3 * torch.randn(batch, m, n, 8)
    features[..., 0] = sign * (1 - 2 * right)
    return features, right


def like_the_first_section(batch: int, m: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rewarded clips are those whose first feature has the sign of all clips of the first section."""
    sign = torch.randint(2, (batch, 1, 1)) * 2 - 1
    features = 0.3 * torch.randn(batch, m, n, 8)
    features[..., 0] = (torch.arange(n) % 2) * 2 - 1
    features[:, 0, :, 0] = sign[:, 0]
    return features, (features[..., 0] == sign).float()


def reward_after_training(network: ObservationNetwork, task: Callable, *, steps: int) -> float:
    """Of the most probable clips of sections after the first."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        features, right = task(32, 3, 4)
        loss = -(network(clips_of(features)).softmax(-1) * right).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, right = task(64, 3, 6)
    chosen = network(clips_of(features)).argmax(-1, keepdim=True)
    return float(right.gather(-1, chosen)[:, 1:].mean())


@pytest.mark.parametrize(
    ("kind", "task"),
    [(SetObservation, odd_one_out), *((kind, like_the_first_section) for kind in OF_THE_VIDEO)],
)
def test_what_a_clip_is_worth_beside_others_is_learned_and_holds_for_another_n(kind, task):
    network = kind(Pixels(), width=16)
    assert reward_after_training(network, task, steps=120) > 0.95
    assert reward_after_training(SharedObservation(Pixels()), task, steps=120) < 0.7


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", ALL)
def test_algorithm_1_trains_them_with_a_learning_rate_of_their_own(kind, precision):
    torch.manual_seed(0)
    model = make_dsn(finetuning=FineTuning(sampler_head_lr=0.5))
    model.observation = kind(Trunk(), width=16)
    (head,) = [group for group in model.parameter_groups("sampler") if group.get("head")]
    assert head["lr"] == 0.5
    assert [id(p) for p in head["params"]] == [id(p) for p in model.observation.scorer.parameters()]
    before = {name: value.clone() for name, value in model.observation.state_dict().items()}
    fit(model, epochs=3, precision=precision)
    changed = {name for name, value in model.observation.state_dict().items() if not torch.equal(before[name], value)}
    assert {name for name, _ in model.observation.named_parameters()} <= changed


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (RecurrentObservation, "torch_export"),
        (TransformerObservation, "torch_export"),
        pytest.param(RecurrentObservation, "onnx", marks=pytest.mark.slow),
        pytest.param(TransformerObservation, "onnx", marks=pytest.mark.slow),
        pytest.param(SetObservation, "onnx", marks=pytest.mark.slow),
    ],
)
def test_export(kind, form, tmp_path):
    model = make_dsn(classifier_optimizer=None)
    model.observation = kind(Trunk(), width=16)
    model.eval()
    nn.init.normal_(model.observation.scorer.policy.score.weight)
    if kind is RecurrentObservation:
        with pytest.raises(UsageError, match=r"^the observation network cannot be exported: PyTorch unrolls its"):
            export_model(model, tmp_path / "out", form, clip=(3, 2, 4, 4), clips_per_section=3, record={})
        assert list(tmp_path.iterdir()) == []
    else:
        found = export_model(model, tmp_path / "out", form, clip=(3, 2, 4, 4), clips_per_section=3, record={})
        assert 0 < found["observation"] < 1e-4
