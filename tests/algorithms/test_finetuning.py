"""Training from given weights: what stays frozen, groups of parameters, schedules, and averaged weights."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR

from conftest import NEEDLE, MeanClassifier
from dsn_lightning.algorithms.baseline import Baseline
from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.algorithms.recognizer import evaluating
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.commands import build, cli
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.schedules import Cosine, MultiStep
from dsn_lightning.training.weight_average import AveragedWeights
from helpers.processes import call, start
from helpers.trained_runs import assert_same, assert_same_run, epochs_done, state_of
from helpers.training import batches, differs, fit, make_dsn, sgd, state


def resnet(num_classes: int = 3) -> ResNet3D:
    torch.manual_seed(0)
    return ResNet3D(num_classes=num_classes, stem_width=4, widths=[4, 8], blocks=[1, 1])


def dsn(**changes: Any) -> DSN:
    """With real networks, whose norms have seen some data."""
    arguments: dict[str, Any] = {
        "sampler_optimizer": sgd(), "classifier_optimizer": sgd(), "gamma": 0.5, "mean": [0.5] * 3, "std": [0.25] * 3,
        "schedule": MultiStep(2, milestones=(1,)),
    }  # fmt: skip
    classifier = resnet()
    trunk = ResNet2D(num_classes=0, num_frames=2, stem_width=4, widths=[4, 8], blocks=[1, 1])
    for network in (classifier, trunk):
        network.train()(torch.randn(4, 3, 2, 8, 8))
    return DSN(classifier, ConcatObservation(trunk, clips_per_section=4), **{**arguments, **changes})


def norms(model: nn.Module) -> list[_BatchNorm]:
    return [part for part in model.modules() if isinstance(part, _BatchNorm)]


def of_norms(model: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{i}.{key}": value.clone() for i, part in enumerate(norms(model)) for key, value in state(part).items()}


# frozen batch-norm


@pytest.mark.parametrize("fixed", [False, True], ids=["dsn", "dsn_fixed"])
def test_frozen_norms_stay_bit_identical(fixed):
    model = dsn(finetuning=FineTuning(batch_norm="frozen"), **({"classifier_optimizer": None} if fixed else {}))
    before, rest = of_norms(model), state(model)
    assert len(before) == 5 * len(norms(model)) > 30  # scale, shift, mean, variance, count
    fit(model)
    assert_same(of_norms(model), before)
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, rest[name])}
    assert changed == ({"observation"} if fixed else {"classifier", "observation"})


def test_trained_norms_change():
    model = dsn()
    before = of_norms(model)
    fit(model)
    after = of_norms(model)
    assert all(not torch.equal(before[name], after[name]) for name in before if "running" in name)


def test_frozen_norms_stay_in_eval_mode():
    model = dsn(finetuning=FineTuning(batch_norm="frozen"))
    modes = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            modes.append((pl_module.classifier.training, any(norm.training for norm in norms(pl_module))))

    fit(model, callbacks=[Watch()], check_val_every_n_epoch=1)
    assert modes == [(True, False)] * 4
    model.eval()
    model.train()
    with evaluating(model.classifier):
        assert not model.classifier.training
    assert model.classifier.training
    assert not any(norm.training for norm in norms(model))


def test_frozen_norm_uses_its_running_statistics_in_training():
    model = dsn(finetuning=FineTuning(batch_norm="frozen")).train()
    clips = next(iter(batches()))["clips"][:, 0]
    in_training = model.classify(clips)
    torch.testing.assert_close(in_training, model.eval().classify(clips), rtol=0, atol=0)


# groups of parameters


def names_of(network: nn.Module, group: dict[str, Any]) -> set[str]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1)
        self.batch = nn.BatchNorm3d(4)
        self.layer = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 3)


def test_groups_by_hand():
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
        {}, {"weight_decay": 0.0}, {"lr": 0.5, "head": True}, {"lr": 0.5, "head": True, "weight_decay": 0.0},
    ]  # fmt: skip
    optimizer = SGD(groups, lr=0.1, weight_decay=0.01)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (0.1, 0.01), (0.1, 0.0), (0.5, 0.01), (0.5, 0.0),
    ]  # fmt: skip


def test_defaults_make_the_optimiser_that_parameters_make():
    network = resnet()
    groups = FineTuning().groups(network, name="classifier")
    ours, plain = SGD(groups, lr=0.1, momentum=0.9), SGD(network.parameters(), lr=0.1, momentum=0.9)
    assert ours.state_dict() == plain.state_dict()
    assert all(a is b for a, b in zip(ours.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True))


def test_only_weights_decay():
    """With no gradient but the decay's, a step multiplies what decays and leaves the rest."""
    network = resnet()
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
def test_each_part_follows_its_own_learning_rate(frozen_trunk):
    model = dsn(
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
            logged.append([float(figures[f"train/{name}"]) for name in (
                "sampler_lr", "sampler_head_lr", "classifier_lr", "classifier_head_lr")])  # fmt: skip

    fit(model, callbacks=[Watch()])
    sampler = [0.05] * 2 if frozen_trunk else [0.1, 0.1, 0.05, 0.05]
    full = [sampler, [0.1, 0.1, 0.4, 0.4]]
    for lrs, factor in zip(seen, (1, 1, 0.1, 0.1), strict=True):
        assert lrs == [pytest.approx([factor * lr for lr in network]) for network in full]
    first = [sampler[0], 0.05, 0.1, 0.4]
    assert logged == [pytest.approx(first), pytest.approx([0.1 * lr for lr in first])]


class FrozenStem(MeanClassifier):
    """Comes with a part that is not to be trained."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = nn.Conv3d(3, 3, 1).requires_grad_(False)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(self.stem(clips))


def test_what_comes_frozen_stays_frozen():
    model = dsn()
    model = DSN(FrozenStem(3), model.observation, sampler_optimizer=sgd(), classifier_optimizer=sgd(), gamma=0.5,
                schedule=MultiStep(2, milestones=()), mean=[0.5] * 3, std=[0.25] * 3)  # fmt: skip
    stem, head = state(model.classifier.stem), state(model.classifier.fc)
    fit(model)
    assert not differs(stem, model.classifier.stem)
    assert differs(head, model.classifier.fc)


@pytest.mark.parametrize(("part", "name"), [("classifier", "classifier"), ("observation", "sampler")])
def test_nothing_to_train_is_refused(part, name):
    model = dsn()
    getattr(model, part).requires_grad_(False)
    with pytest.raises(UsageError, match=f"the {name} .* has nothing to train"):
        fit(model)
    alone = Baseline(resnet().requires_grad_(False), optimizer=sgd(), schedule=MultiStep(2, milestones=()),
                     mean=[0.5] * 3, std=[0.25] * 3)  # fmt: skip
    with pytest.raises(UsageError, match="nothing to train"):
        fit(alone)


def test_a_network_without_a_head_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    with pytest.raises(UsageError, match=r"schedule.sampler_head_lr=0.1: .* has no last layer `fc`"):
        FineTuning(sampler_head_lr=0.1).groups(network, name="sampler")
    assert len(FineTuning(sampler_head_lr=0.1).groups(network, name="classifier")) == 1


# schedules


def factors_of(make: Any, epochs: int, per_epoch: int) -> list[float]:
    """What torch's scheduler, stepped after each batch, multiplies a learning rate with."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs * per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedules_are_torchs():
    epochs, k = 12, 5
    ours = lambda rule: [rule.factor(i / k) for i in range(epochs * k)]  # noqa: E731

    def linear(optimizer: Any) -> LinearLR:
        return LinearLR(optimizer, start_factor=1e-3 / 2, total_iters=2 * k)

    def steps_after_warm_up(optimizer: Any) -> SequentialLR:
        later = MultiStepLR(optimizer, milestones=[5 * k, 8 * k])  # counts from the end of the warm-up
        return SequentialLR(optimizer, [linear(optimizer), later], milestones=[2 * k])

    def product(optimizer: Any) -> ChainedScheduler:
        return ChainedScheduler([linear(optimizer), CosineAnnealingLR(optimizer, T_max=epochs * k)])

    plain = pytest.approx(factors_of(lambda o: CosineAnnealingLR(o, T_max=epochs * k), epochs, k), abs=1e-9)
    assert ours(Cosine(epochs)) == plain
    low = pytest.approx(factors_of(lambda o: CosineAnnealingLR(o, T_max=epochs * k, eta_min=0.1), epochs, k), abs=1e-9)
    assert ours(Cosine(epochs, final=0.1)) == low
    assert ours(MultiStep(epochs, milestones=(7, 10))) == pytest.approx(
        factors_of(lambda o: MultiStepLR(o, milestones=[7 * k, 10 * k]), epochs, k)
    )
    # a warm-up begins at 1/1000 of an epoch, so it is that much ahead of torch's
    stepped, cosine = factors_of(steps_after_warm_up, epochs, k), factors_of(product, epochs, k)
    assert ours(MultiStep(epochs, milestones=(7, 10), warmup_epochs=2)) == pytest.approx(stepped, abs=6e-4)
    assert ours(Cosine(epochs, warmup_epochs=2)) == pytest.approx(cosine, abs=6e-4)


def test_milestones_are_scaled_to_a_shortened_run():
    assert MultiStep(70, milestones=(45, 60), of=70).steps() == [45.0, 60.0]
    assert MultiStep(120, milestones=(90, 110), of=120).steps() == [90.0, 110.0]
    assert MultiStep(14, milestones=(45, 60), of=70).steps() == pytest.approx([9, 12])
    late = MultiStep(24, milestones=(45, 60), of=70, start_epoch=10, warmup_epochs=1)
    assert late.steps() == pytest.approx([19, 22])
    assert [late.factor(e) for e in (0, 10, 10.5, 12, 19.5, 22)] == pytest.approx([1e-3, 1e-3, 0.501, 1, 0.1, 0.01])
    with pytest.raises(UsageError, match="must lie between 0 and"):
        MultiStep(70, milestones=(45, 80), of=70)
    with pytest.raises(UsageError, match="must increase"):
        MultiStep(70, milestones=(60, 45))


def composed(*overrides: str) -> DictConfig:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(cli.config_folder(), version_base="1.3"):
        return compose("train", [*overrides, "run_dir=x"])


def check(cfg: DictConfig) -> None:
    """What a command looks at before anything else."""
    cli.check(cfg)
    build.check_schedule(cfg.schedule)


@pytest.mark.parametrize("schedule", ["tiny", "r3d_18", "r2plus1d_34", "finetune"])
def test_any_schedule_takes_any_rule(schedule):
    from hydra.utils import instantiate

    for rule, kind in (("cosine", Cosine), ("multistep", MultiStep), ("multistep_r2plus1d_34", MultiStep)):
        cfg = composed(f"schedule={schedule}", f"schedule/rule={rule}", "schedule.rule.warmup_epochs=1",
                       "schedule.max_epochs=9")  # fmt: skip
        check(cfg)
        made = instantiate(cfg.schedule.rule, _convert_="all")
        assert type(made) is kind
        assert (made.max_epochs, made.warmup_epochs) == (9, 1)
        assert made.factor(0) == pytest.approx(1e-3)
        assert made.factor(1.5) > 0.9 > 0.12 > made.factor(8.9)
    cfg = composed("schedule=finetune", "schedule/sampler_rule=multistep", "algorithm.warmup_epochs=5")
    assert instantiate(cfg.schedule.sampler_rule, _convert_="all").steps() == pytest.approx([9.5, 11])


def test_papers_recipes_are_as_they_were():
    from hydra.utils import instantiate

    for name, epochs, milestones in (("r3d_18", 70, [45, 60]), ("r2plus1d_34", 120, [90, 110])):
        cfg = composed(f"schedule={name}")
        for rule in (cfg.schedule.rule, cfg.schedule.sampler_rule):
            made = instantiate(rule, _convert_="all")
            plain = MultiStep(epochs, milestones=milestones)
            assert [made.factor(i / 10) for i in range(10 * epochs)] == [
                plain.factor(i / 10) for i in range(10 * epochs)
            ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.batch_norm=off", "schedule.batch_norm=off: must be trained or frozen"),
        ("schedule.decay_norm_and_bias=2", "schedule.decay_norm_and_bias=2: must be true or false"),
        ("schedule.ema=1.5", "schedule.ema=1.5: is a decay between 0 and 1"),
        ("schedule.ema=true", "schedule.ema=True: is a decay between 0 and 1"),
        ("schedule.head_lr=0", "schedule.head_lr=0: must be a number above 0"),
        ("schedule.sampler_head_lr=-1", "schedule.sampler_head_lr=-1: must be a number above 0"),
    ],
)
def test_bad_values_get_one_line(override, message):
    cfg = composed(override)
    with pytest.raises(UsageError) as caught:
        check(cfg)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_of_earlier_versions_have_the_defaults():
    assert build.finetuning(OmegaConf.create({"lr": 0.1})) == FineTuning()
    cfg = composed("schedule=finetune", "schedule.head_lr=0.1", "schedule.sampler_head_lr=0.2")
    assert build.finetuning(cfg.schedule) == FineTuning("frozen", False, 0.1, 0.2)


# averaged weights


class Weights(pl.Callback):
    """Keeps the weights after each batch and as they are in validation."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.validated: list[dict[str, torch.Tensor]] = []
        self.afterwards: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.trained.append(state(pl_module))

    def on_validation_batch_start(self, trainer, pl_module, *_):
        if not trainer.sanity_checking:
            self.validated.append(state(pl_module))

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.afterwards.append(state(pl_module))


def average_by_hand(steps: list[dict[str, torch.Tensor]], decay: float) -> dict[str, torch.Tensor]:
    average = steps[0]
    for weights in steps[1:]:
        average = {
            k: decay * v + (1 - decay) * weights[k] if v.is_floating_point() else weights[k] for k, v in average.items()
        }
    return average


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_average_moves_once_after_each_pair_of_steps(accumulate):
    model, watch = make_dsn(accumulate=accumulate), Weights()
    model.predict = lambda batch: torch.full((len(batch["targets"]), 3), 1 / 3).log()
    trainer = pl.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False,
                         callbacks=[AveragedWeights(decay=0.7), watch])  # fmt: skip
    trainer.fit(model, batches(16), batches(4))
    assert len(watch.trained) == 12
    after_steps = watch.trained[accumulate - 1 :: accumulate]
    assert_close(state(model), average_by_hand(after_steps, 0.7))
    assert not torch.equal(model.classifier.fc.weight, watch.trained[-1]["classifier.fc.weight"])
    for epoch in range(3):
        done = 4 * (epoch + 1)
        assert_close(watch.validated[epoch], average_by_hand(after_steps[: done // accumulate], 0.7))
        assert_same(watch.afterwards[epoch], watch.trained[done - 1])  # training goes on from its own weights


def test_training_is_the_same_with_an_average_beside_it():
    """So rewards, too, come from the weights in training."""
    plain, averaged = Weights(), Weights()
    fit(make_dsn(), epochs=3, callbacks=[plain])
    fit(make_dsn(), epochs=3, callbacks=[AveragedWeights(decay=0.9), averaged])
    assert_same(averaged.trained, plain.trained)


def test_fixed_classifier_stays_bit_identical_under_an_average():
    """decay * x + (1 - decay) * x is not always x, and 3 batches that its norms have seen would become 2."""
    model = dsn(classifier_optimizer=None)
    sampler = state(model.observation)
    for norm in norms(model.classifier):
        norm.num_batches_tracked.fill_(3)
    before = state(model.classifier)
    fit(model, epochs=3, callbacks=[AveragedWeights(decay=0.9)])
    assert_same(state(model.classifier), before)
    assert differs(sampler, model.observation)


TUNED = [
    "schedule=finetune", "schedule.ema=0.8", "schedule.head_lr=0.05", "schedule.sampler_head_lr=0.02",
    "schedule.max_epochs=4", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=2",
    "algorithm.warmup_epochs=1", "trainer.accelerator=cpu", "checkpoint.every_n_batches=1", "progress=false",
    "selection=[dsn]", *NEEDLE,
]  # fmt: skip


@pytest.fixture(
    scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["one process", "two processes"]
)
def tuned(request, needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with everything at once, and the arguments that gave it."""
    root = tmp_path_factory.mktemp("tuned")
    arguments = [f"dataset.root={needle_root}", *TUNED, f"trainer.devices={request.param}", "hydra.run.dir=run"]
    done = call("dsn-train", *arguments, cwd=root)
    assert "arning" not in done.stderr
    return root / "run", arguments


def test_killed_and_resumed_is_as_never_stopped(tuned, tmp_path):
    whole, arguments = tuned
    run, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    process = start("dsn-train", *arguments, cwd=tmp_path)
    while process.is_alive() and epochs_done(run) < 2:
        time.sleep(0.002)
    written = last.stat().st_mtime_ns
    while process.is_alive() and last.stat().st_mtime_ns == written:  # one inside the epoch
        time.sleep(0.001)
    process.kill()
    process.join()
    call("dsn-train", "resume=run", cwd=tmp_path)
    assert_same_run(run, whole)
    ours, theirs = state_of(run), state_of(whole)
    for part in ("current_model_state", "averaging_state"):
        assert_same(ours[part], theirs[part], part)
    assert (run / "results.json").is_file()


def test_checkpoints_hold_the_averages_and_the_weights(tuned):
    whole, _ = tuned
    content = state_of(whole)
    assert content["averaging_state"]["n_averaged"] == 12
    averages, weights = content["state_dict"], content["current_model_state"]
    assert averages.keys() == weights.keys()
    same = {name for name in averages if torch.equal(averages[name], weights[name])}
    statistics = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}  # as they were made
    frozen = [name for name in averages if name.endswith(tuple(statistics))]
    assert len(frozen) > 10
    assert all((weights[name] == statistics[name.rsplit(".", 1)[1]]).all() for name in frozen)
    assert same >= set(frozen)
    assert "classifier.fc.weight" not in same
    assert "observation.fc.weight" not in same
    trained = build.load_trained(whole / "checkpoints" / "last.ckpt", role="checkpoint")
    assert_same(dict(trained.recognizer.state_dict()), dict(averages))
    assert [g["weight_decay"] for o in content["optimizer_states"] for g in o["param_groups"]] == [5e-4, 5e-4, 0.0] * 2


def scores_of(run: Path) -> np.ndarray:
    return ClipScores.load(run / "clip_scores.npz").clip_logits


def test_tests_use_the_averages(tuned, tmp_path):
    """At the end of dsn-train, in dsn-evaluate, and when a finished run or one that stopped on time is gone on with."""
    whole, arguments = tuned
    expected = scores_of(whole)
    call("dsn-evaluate", f"checkpoint={whole / 'checkpoints' / 'last.ckpt'}", "selection=[dsn]",
         "hydra.run.dir=evaluated", cwd=tmp_path)  # fmt: skip
    assert np.array_equal(scores_of(tmp_path / "evaluated"), expected)
    if "trainer.devices=2" in arguments:
        return
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "clip_scores.npz").unlink()
    call("dsn-train", f"resume={tmp_path / 'run'}", cwd=tmp_path)
    assert np.array_equal(scores_of(tmp_path / "run"), expected)
    longer = [a for a in arguments if "max_epochs" not in a]
    call("dsn-train", *longer, "schedule.max_epochs=2000", "trainer.max_time=00:00:00:01", "hydra.run.dir=late",
         cwd=tmp_path)  # fmt: skip
    stopped = tmp_path / "late"
    assert json.loads((stopped / "status.json").read_text())["state"] == "finished"
    call("dsn-evaluate", f"checkpoint={stopped / 'checkpoints' / 'last.ckpt'}", "selection=[dsn]",
         "hydra.run.dir=again", cwd=tmp_path)  # fmt: skip
    assert np.array_equal(scores_of(tmp_path / "again"), scores_of(stopped))
