"""Fine-tuning: frozen batch norm, and parameter groups."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import SGD

from conftest import MeanClassifier
from dsn_lightning.algorithms.baseline import Baseline
from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.algorithms.recognizer import evaluating
from dsn_lightning.config.build import check_schedule
from dsn_lightning.errors import UsageError
from dsn_lightning.rewards.correct_class import CorrectClass
from dsn_lightning.schedules import MultiStep
from helpers.synthetic import composed
from helpers.trained_runs import assert_same
from helpers.training import batch_norms, batches, differs, fit, make_residual_dsn, sgd, small_resnet, state


def of_norms(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{i}.{key}": value.clone() for i, part in enumerate(batch_norms(model)) for key, value in state(part).items()
    }


@pytest.mark.parametrize("fixed", [False, True], ids=["dsn", "dsn_fixed"])
def test_frozen_norms_stay_bit_identical(fixed):
    model = make_residual_dsn(
        finetuning=FineTuning(batch_norm="frozen"), **({"classifier_optimizer": None} if fixed else {})
    )
    before, rest = of_norms(model), state(model)
    assert len(before) == 5 * len(batch_norms(model)) > 30  # scale, shift, mean, variance, count
    fit(model)
    assert_same(of_norms(model), before)
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, rest[name])}
    assert changed == ({"observation"} if fixed else {"classifier", "observation"})


def test_trained_norms_change():
    model = make_residual_dsn()
    before = of_norms(model)
    fit(model)
    after = of_norms(model)
    assert all(not torch.equal(before[name], after[name]) for name in before if "running" in name)


def test_frozen_norms_stay_in_eval_mode():
    model = make_residual_dsn(finetuning=FineTuning(batch_norm="frozen"))
    modes = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            modes.append((pl_module.classifier.training, any(norm.training for norm in batch_norms(pl_module))))

    fit(model, callbacks=[Watch()], check_val_every_n_epoch=1)
    assert modes == [(True, False)] * 4
    model.eval()
    model.train()
    with evaluating(model.classifier):
        assert not model.classifier.training
    assert model.classifier.training
    assert not any(norm.training for norm in batch_norms(model))


def test_frozen_norm_uses_its_running_statistics_in_training():
    model = make_residual_dsn(finetuning=FineTuning(batch_norm="frozen")).train()
    clips = next(iter(batches()))["clips"][:, 0]
    in_training = model.classify(clips)
    torch.testing.assert_close(in_training, model.eval().classify(clips), rtol=0, atol=0)


def names_of(network: nn.Module, group: dict[str, Any]) -> set[str]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


class Mixed(nn.Module):
    head = "fc"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1)
        self.batch = nn.BatchNorm3d(4)
        self.layer = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 3)


def test_groups_of_head_norms_and_biases():
    network = Mixed()
    tuning = FineTuning(head_lr=0.5, decay_norm_and_bias=False)
    groups = tuning.groups(network, name="classifier")
    assert [names_of(network, group) for group in groups] == [
        {"conv.weight"},
        {"conv.bias", "batch.weight", "batch.bias", "layer.weight", "layer.bias"},
        {"fc.weight"},
        {"fc.bias"},
    ]
    assert [{k: v for k, v in group.items() if k != "params"} for group in groups] == [
        {},
        {"weight_decay": 0.0},
        {"lr": 0.5, "head": True},
        {"lr": 0.5, "head": True, "weight_decay": 0.0},
    ]
    optimizer = SGD(groups, lr=0.1, weight_decay=0.01)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (0.1, 0.01),
        (0.1, 0.0),
        (0.5, 0.01),
        (0.5, 0.0),
    ]


def test_default_groups_equal_a_plain_list_of_parameters():
    network = small_resnet()
    groups = FineTuning().groups(network, name="classifier")
    ours, plain = SGD(groups, lr=0.1, momentum=0.9), SGD(network.parameters(), lr=0.1, momentum=0.9)
    assert ours.state_dict() == plain.state_dict()
    assert all(a is b for a, b in zip(ours.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True))


def test_only_weights_decay():
    """With zero gradients, a step scales the parameters that decay and leaves the others unchanged."""
    network = small_resnet()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    groups = FineTuning(decay_norm_and_bias=False).groups(network, name="classifier")
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    SGD(groups, lr=0.5, weight_decay=0.5).step()
    for name, parameter in network.named_parameters():
        decays = parameter.dim() > 1  # convolutions' and the last layer's weights
        torch.testing.assert_close(parameter.detach(), before[name] * (0.75 if decays else 1.0), msg=name)
    assert {parameter.dim() for parameter in network.parameters()} == {1, 2, 5}


@pytest.mark.parametrize("frozen_trunk", [False, True])
def test_head_and_rest_follow_their_learning_rates(frozen_trunk):
    model = make_residual_dsn(
        finetuning=FineTuning(head_lr=0.4, sampler_head_lr=0.05, decay_norm_and_bias=False),
        schedule=MultiStep(2, milestones=(1,)),
    )
    if frozen_trunk:
        model.observation.trunk.requires_grad_(False)
    seen, logged = [], []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append([[group["lr"] for group in optimizer.param_groups] for optimizer in trainer.optimizers])

        def on_train_epoch_end(self, trainer, pl_module):
            figures = pl_module.means.compute()
            pl_module.means.reset()
            logged.append(
                [
                    float(figures[f"train/{name}"])
                    for name in ("sampler_lr", "sampler_head_lr", "classifier_lr", "classifier_head_lr")
                ]
            )

    fit(model, callbacks=[Watch()])
    sampler = [0.05] * 2 if frozen_trunk else [0.1, 0.1, 0.05, 0.05]
    full = [sampler, [0.1, 0.1, 0.4, 0.4]]
    for lrs, factor in zip(seen, (1, 1, 0.1, 0.1), strict=True):
        assert lrs == [pytest.approx([factor * lr for lr in network]) for network in full]
    first = [sampler[0], 0.05, 0.1, 0.4]
    assert logged == [pytest.approx(first), pytest.approx([0.1 * lr for lr in first])]


class FrozenStem(MeanClassifier):
    """Has a layer that is frozen by its constructor."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = nn.Conv3d(3, 3, 1).requires_grad_(False)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(self.stem(clips))


def test_layers_frozen_by_the_network_stay_frozen():
    model = make_residual_dsn()
    model = DSN(
        FrozenStem(3),
        model.observation,
        sampler_optimizer=sgd(),
        classifier_optimizer=sgd(),
        reward=CorrectClass(gamma=0.5),
        schedule=MultiStep(2, milestones=()),
        mean=[0.5] * 3,
        std=[0.25] * 3,
    )
    stem, head = state(model.classifier.stem), state(model.classifier.fc)
    fit(model)
    assert not differs(stem, model.classifier.stem)
    assert differs(head, model.classifier.fc)


@pytest.mark.parametrize(("part", "name"), [("classifier", "classifier"), ("observation", "sampler")])
def test_nothing_to_train_is_refused(part, name):
    model = make_residual_dsn()
    getattr(model, part).requires_grad_(False)
    with pytest.raises(UsageError, match=f"the {name} .* has nothing to train"):
        fit(model)
    alone = Baseline(
        small_resnet().requires_grad_(False),
        optimizer=sgd(),
        schedule=MultiStep(2, milestones=()),
        mean=[0.5] * 3,
        std=[0.25] * 3,
    )
    with pytest.raises(UsageError, match="nothing to train"):
        fit(alone)


class RenamedHead(nn.Module):
    head = "layers.1"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))


def test_the_head_is_the_layer_that_the_network_names():
    network = RenamedHead()
    rest, head = FineTuning(sampler_head_lr=0.1).groups(network, name="sampler")
    assert names_of(network, head) == {"layers.1.weight", "layers.1.bias"}
    assert names_of(network, rest) == {"layers.0.weight", "layers.0.bias"}
    assert len(FineTuning(sampler_head_lr=0.1).groups(network, name="classifier")) == 1


def test_wrong_values_name_their_argument():
    with pytest.raises(UsageError, match=r"^batch_norm=off: must be trained or frozen$"):
        FineTuning(batch_norm="off")
    with pytest.raises(UsageError, match=r"^decay_norm_and_bias=2: must be true or false$"):
        FineTuning(decay_norm_and_bias=2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.batch_norm=none", "schedule.batch_norm=none: must be trained or frozen"),
        ("schedule.decay_norm_and_bias=2", "schedule.decay_norm_and_bias=2: must be true or false"),
        ("schedule.ema=1.5", "schedule.ema=1.5: must be a decay between 0 and 1"),
        ("schedule.ema=true", "schedule.ema=true: must be a decay between 0 and 1"),
        ("schedule.head_lr=0", "schedule.head_lr=0: must be a number above 0"),
        ("schedule.sampler_head_lr=-1", "schedule.sampler_head_lr=-1: must be a number above 0"),
    ],
)
def test_wrong_settings_get_one_line_with_the_key(override, message):
    with pytest.raises(UsageError) as caught:
        check_schedule(composed(override).schedule)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
