"""Every estimator at toy size: its expected gradient, by enumeration or over many draws, and learning a bandit.

The toy has two sections of three clips. Its rewards are those of Eq. 6, or depend on both sections.
"""

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from dsn_lightning.algorithms.batch_rewards import BatchRewards
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators import (
    PPO,
    Distill,
    Gumbel,
    LeaveOneOut,
    MovingAverage,
    exact,
    reinforce,
    reinforce_with_greedy_baseline,
)
from dsn_lightning.rewards import ConsensusGain, CorrectClass, SectionGain, TrueClass
from dsn_lightning.rewards.reward import of_actions

LOGITS = torch.tensor([[[2.0, 0.0, 0.3], [0.1, 1.5, 0.2], [0.0, 0.4, 0.9]], [[0.1, 0.2, 0.3], [1.0, 0, 0], [0, 0, 2]]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0]])
POLICY = torch.tensor([[[0.4, -0.3, 0.9], [0.2, 0.1, -0.7]]], dtype=torch.float64)
WITH_NOTHING = torch.cat([POLICY, torch.tensor([[[0.3], [-0.2]]], dtype=torch.float64)], -1)
UNBIASED = {
    "reinforce": lambda: reinforce,
    "greedy baseline": lambda: reinforce_with_greedy_baseline,
    "moving average": MovingAverage,
    "leave one out": partial(LeaveOneOut, draws=2),
    "exact": lambda: exact,
    "ppo's first update": PPO,
}


def rewards_of(reward: Any, num_arms: int) -> BatchRewards:
    """The rewards of one video, whose clips' logits are known."""
    known = LOGITS[None].double()
    return BatchRewards(
        lambda chosen: known, reward, TARGETS, num_arms=num_arms, num_clips=3, consensus="probabilities"
    )


def joint_actions(policy: torch.Tensor) -> list[tuple[torch.Tensor, float]]:
    """All actions of the two sections (B, M), and their probabilities."""
    arms = range(policy.shape[-1])
    log_policy = policy.log_softmax(-1)[0]
    return [
        (torch.tensor([[a, b]]), float((log_policy[0, a] + log_policy[1, b]).exp()))
        for a, b in itertools.product(arms, arms)
    ]


def uniforms_of(policy: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Numbers that draw an action, (B, M)."""
    policy = policy.softmax(-1)
    edges = policy.cumsum(-1)
    return (edges - policy / 2).gather(-1, action[..., None]).squeeze(-1)


def exact_gradient(policy: torch.Tensor, reward: Any) -> torch.Tensor:
    """Minus the gradient of the expected reward, summed over all actions: each section's reward, given the others."""
    logits = policy.clone().requires_grad_()
    log_policy = logits.log_softmax(-1)
    expected = torch.zeros((), dtype=torch.float64)
    for action, probability in joint_actions(policy):
        values = of_actions(reward(LOGITS[None].double(), TARGETS, action), action)  # (1, 2)
        score = log_policy.gather(-1, action[..., None]).squeeze(-1)
        expected = expected + probability * (values.detach() * score).mean()
    return torch.autograd.grad(-expected, logits)[0]


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.parametrize(
    ("reward", "policy"),
    [
        (CorrectClass(gamma=0.5), POLICY),
        (CorrectClass(gamma=0.5, price=0.2), WITH_NOTHING),
        (SectionGain(), POLICY),
        (ConsensusGain(price=0.1), WITH_NOTHING),
    ],
    ids=["Eq. 6", "Eq. 6 or nothing", "section gain", "consensus gain or nothing"],
)
def test_the_expected_gradient_is_that_of_the_expected_reward(name, reward, policy):
    logits = policy.clone().requires_grad_()
    rewards = rewards_of(reward, policy.shape[-1])
    expected = torch.zeros_like(policy)
    draws = getattr(UNBIASED[name](), "num_draws", 1)
    for drawn in itertools.product(joint_actions(policy), repeat=draws):
        uniforms = torch.stack([uniforms_of(policy, action) for action, _ in drawn])
        estimator = UNBIASED[name]()
        if isinstance(estimator, MovingAverage):
            estimator.average.fill_(0.3)  # of earlier batches
        estimate = estimator(logits.log_softmax(-1), uniforms=uniforms if draws > 1 else uniforms[0], reward=rewards)
        assert torch.equal(estimate.action, drawn[0][0])
        weight = torch.tensor([probability for _, probability in drawn]).double().prod()
        expected += weight * torch.autograd.grad(estimate.loss, logits)[0]
    # The greedy baseline of a joint reward is independent of A within a section only: B is judged beside the greedy
    # clips of the other sections, which costs no bias.
    torch.testing.assert_close(expected, exact_gradient(policy, reward))


def test_the_exact_gradient_has_no_variance():
    gradients = []
    for uniforms in (torch.tensor([[0.1, 0.2]]), torch.tensor([[0.9, 0.7]])):
        logits = POLICY.clone().requires_grad_()
        estimate = exact(logits.log_softmax(-1), uniforms=uniforms, reward=rewards_of(CorrectClass(gamma=0.5), 3))
        gradients.append(torch.autograd.grad(estimate.loss, logits)[0])
    assert torch.equal(*gradients)


def test_ppo_s_further_updates_are_clipped_where_the_policy_has_moved_enough():
    reward = rewards_of(TrueClass(), 3)
    estimate = PPO(updates=3, clip=0.2)(POLICY.log_softmax(-1), uniforms=torch.tensor([[0.5, 0.9]]), reward=reward)
    assert len(estimate.further) == 2
    action, advantage = estimate.action, estimate.reward - estimate.baseline
    moved = POLICY.clone()
    moved.scatter_add_(-1, action[..., None], advantage.sign()[..., None].double())  # further than the clip allows
    moved.requires_grad_()
    loss = estimate.further[0](moved.log_softmax(-1))
    assert not torch.autograd.grad(loss, moved)[0].any()
    back = (2 * POLICY - moved.detach()).requires_grad_()  # the other way: the gradient leads back
    assert torch.autograd.grad(estimate.further[1](back.log_softmax(-1)), back)[0].any()


def test_distillation_ends_at_the_softmax_of_the_rewards_and_not_at_the_best_clip():
    reward = TrueClass()
    values = reward(LOGITS[None], TARGETS, torch.zeros(1, 2, dtype=torch.long))[..., :3]
    logits = (values / 0.5).double().requires_grad_()
    estimate = Distill(temperature=0.5)(
        logits.log_softmax(-1), uniforms=torch.tensor([[0.5, 0.9]]), reward=rewards_of(reward, 3)
    )
    torch.testing.assert_close(
        torch.autograd.grad(estimate.loss, logits)[0], torch.zeros_like(logits), atol=1e-7, rtol=0
    )


def gumbel_gradient(temperature: float) -> torch.Tensor:
    """Mean over 20,000 draws."""
    draws = torch.rand(3, 20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = POLICY.clone().requires_grad_()
    known = LOGITS[None].double().expand(20_000, 2, 3, 3)
    rewards = BatchRewards(
        lambda chosen: known,
        TrueClass(),
        TARGETS.expand(20_000, 3),
        num_arms=3,
        num_clips=3,
        consensus="probabilities",
    )
    estimator = Gumbel(start=temperature, end=temperature)
    log_policy = logits.log_softmax(-1).expand(20_000, 2, 3)
    estimate = estimator(log_policy, uniforms=draws, reward=rewards)
    chosen = torch.stack([(estimate.action[:, 0] == n).double().mean() for n in range(3)])
    torch.testing.assert_close(chosen, POLICY.softmax(-1)[0, 0], atol=0.01, rtol=0)  # it draws from the policy
    return torch.autograd.grad(estimate.loss, logits)[0]


def test_gumbel_is_biased_but_goes_down_the_classifier_s_loss():
    logits = POLICY.clone().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    rewards = rewards_of(TrueClass(), 3)
    log_policy = logits.log_softmax(-1)
    for action, _ in joint_actions(POLICY):
        chosen = nn.functional.one_hot(action, 3).double()
        probability = log_policy.gather(-1, action[..., None]).sum().exp()
        expected = expected - probability * rewards.log_likelihood(chosen).mean()
    true = torch.autograd.grad(expected, logits)[0]
    for temperature in (2.0, 0.5):
        found = gumbel_gradient(temperature)
        cosine = nn.functional.cosine_similarity(found.flatten(), true.flatten(), dim=0)
        assert cosine > 0.9
        assert not torch.allclose(found, true, rtol=0.1, atol=0)


def test_gumbel_s_temperature_falls_with_the_batches():
    estimator = Gumbel(start=2.0, end=0.5, batches=2)
    temperatures = []
    for _ in range(4):
        temperatures.append(float(estimator.temperature()))
        estimator(POLICY.log_softmax(-1), uniforms=torch.rand(3, 1, 2), reward=rewards_of(TrueClass(), 3))
    assert temperatures == pytest.approx([2.0, 1.0, 0.5, 0.5])
    resumed = Gumbel(start=2.0, end=0.5, batches=2)
    resumed.load_state_dict(estimator.state_dict())
    assert float(resumed.temperature()) == pytest.approx(0.5)


def test_the_moving_average_is_that_of_earlier_batches():
    estimator = MovingAverage(momentum=0.75)
    averages = []
    for u in (0.05, 0.9):
        uniforms = torch.tensor([[u, u]])
        estimate = estimator(POLICY.log_softmax(-1), uniforms=uniforms, reward=rewards_of(TrueClass(), 3))
        averages.append((float(estimate.baseline[0, 0]), float(estimate.reward.mean())))
    assert averages[0][0] == 0
    assert averages[1][0] == pytest.approx(averages[0][1])
    assert float(estimator.average) == pytest.approx(0.75 * averages[0][1] + 0.25 * averages[1][1])


def test_a_reward_that_is_not_finite_leaves_the_average_as_it_is():
    estimator = MovingAverage()
    estimator.average.fill_(0.3)
    estimator(POLICY.log_softmax(-1), uniforms=torch.rand(1, 2), reward=lambda actions: torch.full((1, 2), torch.nan))
    assert float(estimator.average) == pytest.approx(0.3)


LEARNERS = {
    **UNBIASED,
    "ppo": PPO,
    "gumbel": partial(Gumbel, batches=100),
    "distill": Distill,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_sampler_learns_a_bandit(name):
    """Four clips, of which one shows the class; the sampler sees which."""
    torch.manual_seed(0)
    net = nn.Linear(4, 4)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    estimator = LEARNERS[name]()
    draws = getattr(estimator, "num_draws", 1)
    shape = (16, 1) if draws == 1 else (draws or 4, 16, 1)
    right, wrong = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    for _ in range(200):
        best = torch.randint(4, (16, 1), generator=generator)
        seen = nn.functional.one_hot(best, 4).float()
        logits = torch.where(seen[..., None] > 0, right, wrong)  # (16, 1, 4, 2)
        rewards = BatchRewards(
            lambda _, logits=logits: logits,
            CorrectClass(gamma=0.5),
            torch.tensor([[1.0, 0.0]]).expand(16, 2),
            num_arms=4,
            num_clips=4,
            consensus="probabilities",
        )
        estimate = estimator(net(seen).log_softmax(-1), uniforms=torch.rand(shape, generator=generator), reward=rewards)
        losses = [lambda _, loss=estimate.loss: loss, *estimate.further]
        for loss_of in losses:
            optimizer.zero_grad()
            loss_of(net(seen).log_softmax(-1)).backward()
            optimizer.step()
    assert net(torch.eye(4)).argmax(-1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: LeaveOneOut(draws=1), "estimator.draws=1: must be a whole number of at least 2"),
        (lambda: MovingAverage(momentum=1), "estimator.momentum=1: must be at least 0 and below 1"),
        (lambda: PPO(updates=0), "estimator.updates=0: must be a whole number of at least 1"),
        (lambda: PPO(updates=2.5), "estimator.updates=2.5: must be a whole number of at least 1"),
        (lambda: PPO(clip=0), "estimator.clip=0: must be above 0"),
        (lambda: Gumbel(start=0.5, end=1), "estimator.start=0.5 estimator.end=1: expected start >= end > 0"),
        (lambda: Gumbel(batches=0), "estimator.batches=0: must be a whole number of at least 1"),
        (lambda: Distill(temperature=0), "estimator.temperature=0: must be above 0"),
    ],
)
def test_impossible_settings_are_refused(make, complaint):
    with pytest.raises(UsageError, match=complaint):
        make()
