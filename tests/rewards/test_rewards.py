"""The rewards against numbers worked out by hand, and their contract."""

import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.errors import UsageError
from dsn_lightning.rewards import ConsensusGain, CorrectClass, SectionGain, TrueClass, check_reward

CONF = Path(__file__).resolve().parents[2] / "conf"
SCORES = torch.tensor([[[[0.8, 0.2], [0.4, 0.6]], [[0.5, 0.5], [0.1, 0.9]]]])  # (B=1, M=2, N=2, J=2)
TARGETS = torch.tensor([[1.0, 0.0]])
ACTIONS = torch.tensor([[0, 1]])


@pytest.mark.parametrize("file", sorted((CONF / "reward").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_reward_satisfies_the_contract(file):
    config = OmegaConf.create({"gamma": 0.5, "algorithm": {"consensus": "logits"}, "reward": OmegaConf.load(file)})
    reward = check_reward(instantiate(config.reward), key="reward")
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 4, 5, 6), torch.eye(6)[:3]
    values = reward(logits, targets, torch.randint(6, (2, 3, 4)))
    assert values.expand(2, 3, 4, 6).isfinite().all()
    assert not values[..., 5].any()  # nothing is worth nothing
    if file.stem == "section_gain":
        return  # it has no price
    dearer = instantiate(config.reward, price=0.25)(logits, targets, torch.zeros(3, 4, dtype=torch.long))
    free = reward(logits, targets, torch.zeros(3, 4, dtype=torch.long))
    torch.testing.assert_close(dearer[..., :5], free[..., :5] - 0.25)


def test_eq_6_by_hand():
    values = CorrectClass(gamma=0.5, price=0.1)(SCORES.log(), TARGETS, ACTIONS)
    torch.testing.assert_close(values, torch.tensor([[[0.7, -0.6, 0.0], [0.4, -0.6, 0.0]]]))


def test_the_true_class_counts_even_if_the_answer_is_wrong():
    values = TrueClass()(SCORES.log(), TARGETS, ACTIONS)
    torch.testing.assert_close(values[..., :2], SCORES[..., 0])


def test_a_section_s_gain_is_relative_to_its_mean():
    values = SectionGain(floor=0.2)(SCORES.log(), TARGETS, ACTIONS)
    expected = [[math.log(0.8 / 0.6), math.log(0.4 / 0.6), 0], [math.log(0.5 / 0.35), math.log(0.2 / 0.35), 0]]
    torch.testing.assert_close(values, torch.tensor([expected]))


@pytest.mark.parametrize("consensus", ["probabilities", "logits"])
def test_a_clip_is_worth_what_it_adds_to_the_answer(consensus):
    """Each value is the difference of two answers of Eq. 4, computed by the function that classifies videos."""
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 4, 5), torch.eye(5)[[1, 3]]
    actions = torch.tensor([[0, 4, 2], [3, 3, 0]])  # the second section of the first video is skipped
    values = ConsensusGain(consensus=consensus, floor=1e-9)(logits, targets, actions)

    def answer(video, kept):
        if not kept:
            return -math.log(5)
        scores = torch.stack([logits[video, m, n] for m, n in kept])
        return float((consensus_log_probabilities(scores, consensus=consensus) * targets[video]).sum())

    for video, section, clip in [(b, m, n) for b in range(2) for m in range(3) for n in range(4)]:
        others = [(m, int(actions[video, m])) for m in range(3) if m != section and actions[video, m] < 4]
        expected = answer(video, [*others, (section, clip)]) - answer(video, others)
        assert values[video, section, clip].item() == pytest.approx(expected, abs=1e-5)


def test_the_first_clip_of_a_video_is_compared_with_equally_probable_classes():
    values = ConsensusGain()(SCORES.log(), TARGETS, torch.tensor([[2, 2]]))
    torch.testing.assert_close(values[..., :2], (SCORES[..., 0] / 0.5).log())


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [
        (3, "got int"),
        (lambda logits, targets: None, "got function: "),
        (lambda logits, targets, actions: None, "compares_clips of function is missing"),
    ],
)
def test_other_objects_are_refused(reward, complaint):
    with pytest.raises(UsageError, match=rf"^reward: expected a callable .*{complaint}"):
        check_reward(reward, key="reward")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: TrueClass(price=-1), "reward.price=-1: must be at least 0 and finite"),
        (lambda: CorrectClass(gamma=0, price=math.nan), "reward.price=nan: must be at least 0 and finite"),
        (lambda: CorrectClass(gamma="0.5"), "reward.gamma=0.5: must be at least 0 and finite"),
        (lambda: CorrectClass(gamma=-1), "reward.gamma=-1: must be at least 0 and finite"),
        (lambda: ConsensusGain(consensus="hinge"), "reward.consensus=hinge: must be one of probabilities, logits"),
        (lambda: SectionGain(floor=0), "reward.floor=0: must be above 0 and below 1"),
        (lambda: ConsensusGain(floor=1), "reward.floor=1: must be above 0 and below 1"),
    ],
)
def test_impossible_settings_are_refused(make, complaint):
    with pytest.raises(UsageError, match=complaint):
        make()
