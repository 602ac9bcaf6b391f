"""The paper's equations against numbers worked out by hand, and Algorithm 1's invariants."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from dsn_lightning.algorithms.dsn import keep, video_cross_entropy
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.rewards.correct_class import clip_reward
from dsn_lightning.stateless_random import CLASSIFIER_ACTION, stateless_uniforms
from helpers.training import Trunk, batches, differs, fit, make_dsn, state


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


def test_warm_up_takes_the_drawn_clips_alone_as_well():
    """As the data module gives them, N = 1: the same training as with all candidates."""
    trained = []
    for alone in (False, True):
        items = [dict(item) for item in batches().dataset]
        for item in items if alone else ():
            uniforms = stateless_uniforms([item["video_id"]], 2, seed=0, epoch=0, purpose=CLASSIFIER_ACTION)
            action = (4 * uniforms[0]).long()
            item["clips"] = item["clips"][torch.arange(2), action][:, None]
        model = make_dsn(warmup_epochs=1)
        fit(model, epochs=1, loader=DataLoader(items, batch_size=4))
        trained.append(state(model))
    assert differs(state(make_dsn().classifier), model.classifier)
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


class DropoutTrunk(Trunk):
    """With dropout, whose masks the second pass must repeat, and passes to count."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = []

    def forward(self, clips):
        kept = nn.functional.dropout(self.norm(clips), 0.3, self.training)
        self.outputs.append(StorageWeakRef(kept.untyped_storage()))
        return kept.amax((2, 3, 4))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_recomputed_policy_changes_no_result(precision):
    """Neither the weights nor the batch statistics, which each batch enters once."""
    trained = []
    for recompute in (True, False):
        model = make_dsn(recompute=recompute, exploration=0.1)
        model.observation.trunk = DropoutTrunk()
        fit(model, precision=precision)
        trained.append(state(model))
        assert len(model.observation.trunk.outputs) == 4 * (1 + recompute)  # two epochs of two batches
        assert model.observation.trunk.norm.num_batches_tracked == 4
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert differs(trained[0], make_dsn())


@pytest.mark.parametrize("recompute", [True, False])
def test_a_recomputed_policys_activations_do_not_live_through_the_classifiers_step(recompute):
    model = make_dsn(recompute=recompute)
    model.observation.trunk = DropoutTrunk()
    update, alive = model.update, {"classifier": [], "sampler": []}

    def looking_update(optimizer, loss, batch_idx, *, name):
        alive[name].append(not model.observation.trunk.outputs[-1].expired())
        update(optimizer, loss, batch_idx, name=name)

    model.update = looking_update
    fit(model, epochs=1)
    assert alive == {"classifier": [not recompute] * 2, "sampler": [not recompute] * 2}


class HostReads(TorchDispatchMode):
    """Lists the operations for whose result the host would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        masks = name.startswith("index") and any(
            isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in arguments[1] if part is not None
        )
        if masks or name in ("_local_scalar_dense", "bincount", "equal", "masked_select", "nonzero"):
            self.found.append(name)
        return function(*arguments, **(named or {}))


def test_a_step_reads_nothing_from_the_device_but_which_clips_to_reward():
    model, found = make_dsn(gradient_clip=1.0), []

    class Watch(pl.Callback):
        def on_train_batch_start(self, *_):
            self.reads = HostReads()
            self.reads.__enter__()

        def on_train_batch_end(self, *_):
            self.reads.__exit__(None, None, None)
            found.append(self.reads.found)

    fit(model, epochs=1, loader=batches(12), callbacks=[Watch()])
    assert found[:2] == [["nonzero"], ["nonzero"]]
    assert found[2] == [
        "nonzero",
        *["_local_scalar_dense"] * len(found[2][1:]),
    ]  # the epoch's end checks its last steps


class CountsFrames(Trunk):
    """Looks at the middle two frames."""

    num_frames = 2

    def forward(self, clips):
        self.num_seen = clips.shape[2]
        return super().forward(clips)


def test_frames_that_the_sampler_does_not_look_at_are_not_normalised():
    model = make_dsn()
    model.observation.trunk = CountsFrames()
    clips = torch.randint(256, (1, 2, 4, 3, 6, 4, 4), dtype=torch.uint8)
    logits = model.policy_logits(clips)
    assert model.observation.trunk.num_seen == 2
    assert torch.equal(logits, model.policy_logits(clips[..., 2:4, :, :]))


def test_a_fixed_classifier_needs_no_second_pass():
    model = make_dsn(classifier_optimizer=None)
    model.observation.trunk = DropoutTrunk()
    fit(model, epochs=1)
    assert len(model.observation.trunk.outputs) == 2


def test_rewards_do_not_change_the_classifier():
    model = make_dsn()
    model.train()
    before = state(model.classifier)
    batch = next(iter(batches()))
    model.batch_rewards(batch, num_arms=4)(torch.zeros(4, 2, dtype=torch.long))
    assert not differs(before, model.classifier)
    assert model.classifier.norm.training
    assert all(p.grad is None for p in model.classifier.parameters())


def test_the_rewards_of_several_actions_cost_one_pass_over_distinct_clips():
    model = make_dsn()
    batch = next(iter(batches()))
    actions = torch.tensor([[[0, 1], [2, 3], [1, 1], [3, 0]], [[0, 2], [1, 3], [1, 1], [2, 1]]])  # (2, B, M)
    apart = [model.batch_rewards(batch, num_arms=4)(action) for action in actions]
    seen = []
    hook = model.classifier.register_forward_pre_hook(lambda _, clips: seen.append(len(clips[0])))
    together = model.batch_rewards(batch, num_arms=4)(actions)
    assert seen == [12]  # 16, of which 4 are of both actions
    hook.remove()
    torch.testing.assert_close(together, torch.stack(apart))
    stored = {**batch, "clip_logits": model.eval().classify(batch["clips"]).detach()}
    torch.testing.assert_close(model.batch_rewards(stored, num_arms=4)(actions), together)


def test_all_candidates_are_classified_once_however_often_they_are_asked_for():
    model = make_dsn()
    batch = next(iter(batches()))
    seen = []
    model.classifier.register_forward_pre_hook(lambda _, clips: seen.append(len(clips[0])))
    rewards = model.batch_rewards(batch, num_arms=4)
    action = torch.zeros(4, 2, dtype=torch.long)
    of_all = rewards.of_all_arms(action)
    assert torch.equal(rewards(action + 2), of_all[..., 2])
    rewards.log_likelihood(torch.full((4, 2, 4), 0.25))
    assert seen == [4 * 2 * 4]


def test_sampler_step_draws_a_fresh_action():
    model = make_dsn()
    model._trainer = None
    trainer = pl.Trainer(logger=False, enable_checkpointing=False)
    model.trainer = trainer
    ids = [f"video {i}" for i in range(50)]
    assert not torch.equal(model.uniforms(ids, 2, "classifier"), model.uniforms(ids, 2, "sampler"))
    assert torch.equal(model.uniforms(ids, 2, "sampler"), model.uniforms(ids, 2, "sampler"))


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
