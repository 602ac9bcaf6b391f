"""The paper's estimator (Eq. 11), and that without a baseline (Eq. 8), against gradients by hand."""

import math

import pytest
import torch
from torch import nn

from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.estimators.no_baseline import reinforce

REWARDS = torch.tensor([[[0.8, -0.5, 0.3]]])


def table_reward(actions: torch.Tensor) -> torch.Tensor:
    return REWARDS.expand(*actions.shape, 3).gather(-1, actions[..., None]).squeeze(-1)


def test_loss_and_gradient_of_eq_11_by_hand():
    logits = torch.tensor([[[0.5, 0.2, 0.3]]]).log().requires_grad_()
    # u = 0.6 draws clip 1; greedy is clip 0; advantage = -0.5 - 0.8 = -1.3
    estimate = reinforce_with_greedy_baseline(
        logits.log_softmax(-1), uniforms=torch.tensor([[0.6]]), reward=table_reward
    )
    assert estimate.action.item() == 1
    assert estimate.loss.item() == pytest.approx(1.3 * math.log(0.2), rel=1e-5)
    estimate.loss.backward()
    # d(-(-1.3) log p_1) / dlogit_n = 1.3 * (1[n=1] - p_n)
    torch.testing.assert_close(logits.grad, 1.3 * torch.tensor([[[-0.5, 0.8, -0.3]]]))


@pytest.mark.parametrize("estimator", [reinforce_with_greedy_baseline, reinforce])
def test_expected_gradient_is_the_exact_policy_gradient(estimator):
    logits = torch.tensor([0.4, -0.3, 0.9], dtype=torch.float64).requires_grad_()
    policy = logits.softmax(-1)
    exact = torch.autograd.grad(-(policy * REWARDS.flatten().double()).sum(), logits, retain_graph=True)[0]
    edges = [0.0, *policy.cumsum(-1).tolist()]
    expected = torch.zeros(3, dtype=torch.float64)
    for n in range(3):
        u = torch.tensor([[(edges[n] + edges[n + 1]) / 2]])  # draws clip n
        estimate = estimator(logits.log_softmax(-1)[None, None], uniforms=u, reward=table_reward)
        assert estimate.action.item() == n
        expected += policy[n].detach() * torch.autograd.grad(estimate.loss, logits)[0]
    torch.testing.assert_close(expected, exact)


def test_no_gradient_when_sample_is_greedy():
    logits = torch.tensor([[[0.5, 0.2, 0.3]]]).log().requires_grad_()
    estimate = reinforce_with_greedy_baseline(
        logits.log_softmax(-1), uniforms=torch.tensor([[0.1]]), reward=table_reward
    )
    estimate.loss.backward()
    assert estimate.baseline.item() == pytest.approx(0.8)  # the logged R(B) includes R(A) there
    assert logits.grad is not None
    assert not logits.grad.any()


def test_both_rewards_come_from_one_call():
    calls = []

    def reward(actions):
        calls.append(actions.tolist())
        return table_reward(actions)

    log_policy = torch.tensor([0.5, 0.2, 0.3]).log().expand(1, 2, 3)
    reinforce_with_greedy_baseline(log_policy, uniforms=torch.tensor([[0.1, 0.6]]), reward=reward)
    assert calls == [[[[0, 1]], [[0, 0]]]]  # A, and B


def test_sampler_learns_a_bandit():
    """Four arms; the rewarded one is the one whose observation is 1."""
    torch.manual_seed(0)
    net = nn.Linear(4, 4)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        best = torch.randint(4, (16, 1), generator=generator)
        seen = nn.functional.one_hot(best, 4).float()
        estimate = reinforce_with_greedy_baseline(
            net(seen).log_softmax(-1),
            uniforms=torch.rand(16, 1, generator=generator),
            reward=lambda actions, best=best: torch.where(actions == best, 0.9, -0.5),
        )
        optimizer.zero_grad()
        estimate.loss.backward()
        optimizer.step()
    assert net(torch.eye(4)).argmax(-1).tolist() == [0, 1, 2, 3]
