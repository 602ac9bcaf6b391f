"""The paper's equations against numbers worked out by hand, and Algorithm 1's invariants."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from dsn_lightning.algorithms.dsn import clip_reward, consensus_log_probabilities, keep, video_cross_entropy
from dsn_lightning.estimators.estimate import log_probability, sample_actions
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.estimators.no_baseline import reinforce
from dsn_lightning.schedules import MultiStep
from helpers.training import batches, differs, fit, make_dsn, state


def test_reward_is_score_if_right_and_penalty_if_wrong():
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]).log()
    targets = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    rewards = clip_reward(logits, targets, gamma=0.7)
    torch.testing.assert_close(rewards, torch.tensor([0.5, -0.7, 0.6]))


def test_reward_accepts_any_of_several_labels():
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log()
    assert clip_reward(logits, torch.tensor([[0.0, 0.5, 0.5]]), gamma=1.0).item() == pytest.approx(0.6)
    assert clip_reward(logits, torch.tensor([[0.5, 0.0, 0.5]]), gamma=1.0).item() == -1.0


def test_consensus_averages_probabilities_or_logits():
    clips = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]]).log()
    mean = consensus_log_probabilities(clips).exp()
    torch.testing.assert_close(mean, torch.tensor([[0.7, 0.3]]))
    geometric = torch.tensor([[0.9 * 0.5, 0.1 * 0.5]]).sqrt()
    torch.testing.assert_close(
        consensus_log_probabilities(clips, consensus="logits").exp(), geometric / geometric.sum()
    )


def test_cross_entropy_is_minus_log_of_the_mean_probability():
    clips = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]]).log()
    loss = video_cross_entropy(consensus_log_probabilities(clips), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(-math.log(0.7))


def test_keep_takes_one_clip_of_each_section():
    clips = torch.arange(2 * 3 * 4).reshape(2, 3, 4, 1, 1, 1, 1)
    action = torch.tensor([[0, 1, 2], [3, 3, 0]])
    assert keep(clips, action).flatten(1).tolist() == [[0, 5, 10], [15, 19, 20]]


def test_sampled_actions_follow_the_policy():
    policy = torch.tensor([0.1, 0.2, 0.3, 0.4])
    uniforms = (torch.arange(1000) + 0.5).reshape(1, 1000) / 1000
    actions = sample_actions(policy.log().expand(1, 1000, 4), uniforms)
    assert torch.bincount(actions.flatten()).tolist() == [100, 200, 300, 400]


REWARDS = torch.tensor([[[0.8, -0.5, 0.3]]])


def table_reward(action: torch.Tensor, where: torch.Tensor | None = None) -> torch.Tensor:
    rewards = REWARDS.expand(*action.shape, 3).gather(-1, action[..., None]).squeeze(-1)
    return rewards if where is None else torch.where(where, rewards, 0.0)


def test_eq_11_by_hand():
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


def test_greedy_reward_is_computed_only_where_it_differs():
    asked = []

    def reward(action, where=None):
        asked.append(where)
        return table_reward(action, where)

    log_policy = torch.tensor([0.5, 0.2, 0.3]).log().expand(1, 2, 3)
    reinforce_with_greedy_baseline(log_policy, uniforms=torch.tensor([[0.1, 0.6]]), reward=reward)
    assert asked[1].tolist() == [[False, True]]


def test_log_probability_is_that_of_the_kept_clip():
    assert log_probability(torch.tensor([[[0.25, 0.75]]]).log(), torch.tensor([[1]])).exp().item() == 0.75


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
            reward=lambda a, where=None, best=best: torch.where(a == best, 0.9, -0.5),
        )
        optimizer.zero_grad()
        estimate.loss.backward()
        optimizer.step()
    assert net(torch.eye(4)).argmax(-1).tolist() == [0, 1, 2, 3]


def test_both_networks_learn():
    model = make_dsn()
    classifier, observation = state(model.classifier), state(model.observation)
    fit(model)
    assert differs(classifier, model.classifier)
    assert differs(observation, model.observation)


def test_fixed_classifier_stays_bit_identical():
    model = make_dsn(classifier_optimizer=None)
    classifier, observation = state(model.classifier), state(model.observation)
    fit(model)
    assert not differs(classifier, model.classifier)
    assert differs(observation, model.observation)


def test_warm_up_leaves_the_sampler_alone():
    model = make_dsn(warmup_epochs=2)
    classifier, observation = state(model.classifier), state(model.observation)
    fit(model, epochs=2)
    assert differs(classifier, model.classifier)
    assert not differs(observation, model.observation)


def test_rewards_leave_the_classifier_as_it_is():
    model = make_dsn()
    model.train()
    before = state(model.classifier)
    batch = next(iter(batches()))
    model.reward(batch["clips"], batch["targets"], torch.zeros(4, 2, dtype=torch.long))
    assert not differs(before, model.classifier)
    assert model.classifier.norm.training
    assert all(p.grad is None for p in model.classifier.parameters())


def test_masked_reward_equals_full_reward_where_it_is_asked_for():
    model = make_dsn()
    batch = next(iter(batches()))
    action = torch.tensor([[0, 1], [2, 3], [1, 1], [3, 0]])
    where = torch.tensor([[True, False], [True, True], [False, False], [False, True]])
    full = model.reward(batch["clips"], batch["targets"], action)
    part = model.reward(batch["clips"], batch["targets"], action, where)
    torch.testing.assert_close(part, torch.where(where, full, 0.0))


def test_sampler_step_draws_a_fresh_action():
    model = make_dsn()
    model._trainer = None
    trainer = pl.Trainer(logger=False, enable_checkpointing=False)
    model.trainer = trainer
    ids = [f"video {i}" for i in range(50)]
    assert not torch.equal(model.uniforms(ids, 2, "classifier"), model.uniforms(ids, 2, "sampler"))
    assert torch.equal(model.uniforms(ids, 2, "sampler"), model.uniforms(ids, 2, "sampler"))


def test_accumulated_gradients_equal_one_large_batch():
    items = list(batches().dataset)
    # sgd without momentum on a classifier without batch statistics: one step of 8 = one step of 2 x 4
    results = []
    for size, accumulate in ((8, 1), (4, 2)):
        model = make_dsn(accumulate=accumulate, warmup_epochs=1)
        model.classifier.norm = nn.Identity()
        fit(model, epochs=1, loader=DataLoader(items, batch_size=size))
        results.append(state(model.classifier))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name])


def test_gradient_is_clipped():
    model = make_dsn(gradient_clip=1e-9, schedule=MultiStep(1, milestones=()))
    before = state(model.classifier.fc)
    fit(model, epochs=1)
    for name, value in model.classifier.fc.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-7, rtol=0)


def test_learning_rate_follows_the_epoch():
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            seen.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    fit(make_dsn(schedule=MultiStep(2, milestones=(1,))), epochs=2, callbacks=[Watch()])
    assert seen == [pytest.approx([lr, lr]) for lr in (0.1, 0.1, 0.01, 0.01)]
    seen.clear()
    sampler = MultiStep(2, milestones=(1,), decay=0.5)
    fit(make_dsn(schedule=MultiStep(2, milestones=()), sampler_schedule=sampler), epochs=2, callbacks=[Watch()])
    assert seen == [pytest.approx(rates) for rates in ([0.1, 0.1], [0.1, 0.1], [0.05, 0.1], [0.05, 0.1])]


def test_bf16_trains_and_rewards_from_updated_weights():
    model = make_dsn()
    fit(model, precision="bf16-mixed")
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_prediction_uses_the_most_probable_clips():
    model = make_dsn().eval()
    batch = next(iter(batches()))
    nn.init.normal_(model.observation.fc.weight)
    action = model.policy_logits(batch["clips"]).argmax(-1)
    by_hand = [
        model.classifier(model.normalize(torch.stack([batch["clips"][b, m, action[b, m]] for m in range(2)])))
        for b in range(4)
    ]
    expected = torch.stack(by_hand).softmax(-1).mean(1)
    torch.testing.assert_close(model.predict(batch).exp(), expected)
