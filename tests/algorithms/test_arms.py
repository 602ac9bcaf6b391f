"""DSN with a sampler that may skip sections, and with estimators that need more than one action."""

import pytest
import torch
from torch import nn

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators import PPO, Distill, Gumbel, LeaveOneOut, MovingAverage, exact
from dsn_lightning.observations.shared import SharedObservation
from dsn_lightning.rewards import ConsensusGain, CorrectClass, SectionGain
from helpers.training import Trunk, batches, differs, fit, make_dsn, state


def skipping_dsn(**changes):
    model = make_dsn(**changes)
    torch.manual_seed(0)
    model.observation = SharedObservation(Trunk(), may_skip=True)
    nn.init.normal_(model.observation.fc.weight)
    return model


@pytest.mark.parametrize("classifier", ["learns", "is fixed"])
@pytest.mark.parametrize("reward", [CorrectClass(gamma=0.5, price=0.2), ConsensusGain(price=0.1)])
def test_both_networks_learn_where_a_section_may_keep_nothing(classifier, reward):
    model = skipping_dsn(reward=reward, **({"classifier_optimizer": None} if classifier == "is fixed" else {}))
    before = state(model.classifier), state(model.observation)
    fit(model)
    assert differs(before[0], model.classifier) == (classifier == "learns")
    assert differs(before[1], model.observation)
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_classifier_sees_the_kept_clips_alone():
    model = skipping_dsn()
    batch = next(iter(batches()))
    action = torch.tensor([[4, 1], [4, 4], [0, 3], [2, 4]])  # the second video keeps its most probable clip
    policy = torch.zeros(4, 2, 5)
    policy[1, 1, 2] = 1.0
    seen = []
    model.eval().classifier.register_forward_pre_hook(lambda _, clips: seen.append(clips[0]))
    answer = model.classify_video(batch["clips"], action, policy).exp()
    kept = [[(1, 1)], [(1, 2)], [(0, 0), (1, 3)], [(0, 2)]]
    assert len(seen[0]) == 5
    for b, clips in enumerate(kept):
        alone = torch.stack([model.classify(batch["clips"][b, m, n][None])[0] for m, n in clips]).softmax(-1).mean(0)
        torch.testing.assert_close(answer[b], alone)


def test_a_dear_clip_is_not_kept():
    """Every reward is at most 1, so that at a price of 2 nothing is worth keeping."""
    model = skipping_dsn(reward=CorrectClass(gamma=0.0, price=2.0), classifier_optimizer=None)
    fit(model, epochs=20)
    policy = model.eval().policy_logits(next(iter(batches()))["clips"])
    assert (policy.argmax(-1) == 4).all()


@pytest.mark.parametrize(
    "estimator",
    [lambda: LeaveOneOut(draws=3), lambda: exact, lambda: PPO(updates=3), Gumbel, Distill, MovingAverage],
    ids=["leave one out", "exact", "ppo", "gumbel", "distill", "moving average"],
)
def test_every_estimator_trains_both_networks_and_resumes_its_state(estimator):
    model = make_dsn(estimator=estimator(), reward=SectionGain(), prior_kl=0.1)
    before = state(model)
    fit(model)
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items() if k.startswith("observation"))
    again = make_dsn(estimator=estimator())
    again.load_state_dict(model.state_dict())
    assert not differs(state(model), again)


def test_ppo_makes_its_updates_on_each_batch():
    model = make_dsn(estimator=PPO(updates=3))
    steps = []
    update = model.update

    def counting(optimizer, loss, batch_idx, *, name):
        steps.append(name)
        update(optimizer, loss, batch_idx, name=name)

    model.update = counting
    fit(model, epochs=1)
    assert steps == ["classifier", "sampler", "sampler", "sampler"] * 2


def test_several_updates_and_accumulated_batches_exclude_each_other():
    with pytest.raises(UsageError, match=r"^schedule.accumulate=2: this estimator makes 4 updates on each batch"):
        make_dsn(estimator=PPO(), accumulate=2)


def test_the_prior_keeps_the_policy_from_certainty():
    """From one start, the more weight it has, the nearer the policy stays to the uniform one."""
    entropies = []
    for weight in (0.0, 1.0):
        model = make_dsn(prior_kl=weight, classifier_optimizer=None)
        torch.manual_seed(1)
        nn.init.normal_(model.observation.fc.weight, std=3.0)
        fit(model, epochs=5)
        log_policy = model.eval().policy_logits(next(iter(batches()))["clips"]).detach().log_softmax(-1)
        entropies.append(float(-(log_policy.exp() * log_policy).sum(-1).mean()))
    assert entropies[1] > entropies[0] + 0.1


class NanOnce(nn.Module):
    """Behind ``layer``, makes the loss of one training pass NaN."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call, self.count = layer, call, 0

    def forward(self, x):
        self.count += self.training and torch.is_grad_enabled()
        return self.layer(x) * (torch.nan if self.training and self.count == self.call else 1.0)


def test_of_several_updates_on_a_batch_only_the_one_that_is_not_finite_is_left_out():
    model = make_dsn(estimator=PPO(updates=4), classifier_optimizer=None, on_nonfinite="skip")
    model.observation.fc = NanOnce(model.observation.fc, 2)
    fit(model, epochs=1)
    assert model.steps.skipped == {"classifier": 0, "sampler": 1}
    assert model.observation.trunk.norm.num_batches_tracked == 7  # of two batches, four passes each
    assert all(p.isfinite().all() for p in model.parameters())
