"""Learning-rate schedules against the paper's and torch's."""

import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR

from dsn_lightning.config.build import check_schedule
from dsn_lightning.config.build_part import build_part
from dsn_lightning.config.compose import settings_of
from dsn_lightning.errors import UsageError
from dsn_lightning.schedules import Cosine, MultiStep
from helpers.training import fit, make_dsn, sgd


def test_multistep_has_the_papers_factors():
    schedule = MultiStep(70, milestones=(45, 60))
    assert [schedule.factor(e) for e in (0, 44, 45, 59, 60, 69)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_warms_up_and_falls_to_zero():
    schedule = Cosine(10, warmup_epochs=2)
    assert schedule.factor(0) < 0.01
    assert schedule.factor(1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 10)) / 2, rel=0.01)
    assert schedule.factor(10) == pytest.approx(0)
    assert all(schedule.factor(e) >= schedule.factor(e + 0.5) for e in range(2, 10))


def factors_of(make: Any, epochs: int, per_epoch: int) -> list[float]:
    """Factors of torch's scheduler, stepped after each batch."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs * per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_factors_equal_those_of_torchs_schedulers():
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
    # a warm-up starts at 1/1000 of an epoch, so it is ahead of torch's by this much
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
    with pytest.raises(UsageError, match="must be between 0 and of=70"):
        MultiStep(70, milestones=(45, 80), of=70)
    with pytest.raises(UsageError, match="must increase"):
        MultiStep(70, milestones=(60, 45))


@pytest.mark.parametrize("schedule", ["tiny", "r3d_18", "r2plus1d_34", "finetune"])
def test_any_schedule_takes_any_rule(schedule):
    for rule, kind in (("cosine", Cosine), ("multistep", MultiStep), ("multistep_r2plus1d_34", MultiStep)):
        schedule_settings = settings_of(
            "run_dir=x",
            f"schedule={schedule}",
            f"schedule/rule={rule}",
            "schedule.rule.warmup_epochs=1",
            "schedule.max_epochs=9",
        ).schedule
        check_schedule(schedule_settings)
        made = build_part(schedule_settings.rule, "schedule.rule")
        assert type(made) is kind
        assert (made.max_epochs, made.warmup_epochs) == (9, 1)
        assert made.factor(0) == pytest.approx(1e-3)
        assert made.factor(1.5) > 0.9 > 0.12 > made.factor(8.9)
    settings = settings_of(
        "run_dir=x", "schedule=finetune", "schedule/sampler_rule=multistep", "algorithm.warmup_epochs=5"
    )
    assert build_part(settings.schedule.sampler_rule, "schedule.sampler_rule").steps() == pytest.approx([9.5, 11])


def test_recipes_of_the_paper_have_its_milestones():
    for name, epochs, milestones in (("r3d_18", 70, [45, 60]), ("r2plus1d_34", 120, [90, 110])):
        settings = settings_of("run_dir=x", f"schedule={name}", "algorithm.warmup_epochs=0")
        for rule in (settings.schedule.rule, settings.schedule.sampler_rule):
            made = build_part(rule, "schedule.rule")
            plain = MultiStep(epochs, milestones=milestones)
            assert [made.factor(i / 10) for i in range(10 * epochs)] == [
                plain.factor(i / 10) for i in range(10 * epochs)
            ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.rule.warmup_epochs=-1", "schedule.rule.warmup_epochs=-1: must be at least 0"),
        ("schedule.sampler_rule.warmup_epochs=-1", "schedule.sampler_rule.warmup_epochs=-1: must be at least 0"),
    ],
)
def test_wrong_rules_are_refused_with_their_key(override, message):
    settings = settings_of("run_dir=x", override)
    with pytest.raises(UsageError) as caught:
        check_schedule(settings.schedule)
    assert str(caught.value) == message


class SamplerRates(pl.Callback):
    """The learning rate of each step of the sampler's optimiser."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if optimizer.param_groups[0]["params"][0] is next(pl_module.observation.parameters()):
            self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", ["r3d_18", "r2plus1d_34", "finetune", "tiny"])
def test_the_samplers_of_dsn_and_dsn_f_make_equal_steps_at_equal_rates(schedule):
    """Table I: DSN with its warm-up, and DSN-f with as many epochs less."""
    given = [f"schedule={schedule}", "schedule.max_epochs=9", "run_dir=x"]
    steps: dict[str, list[float]] = {}
    for row in ("dsn", "dsn_fixed"):
        epochs = ["schedule.max_epochs=6"] if row == "dsn_fixed" else []  # 9 less a third, the warm-up
        settings = settings_of(f"experiment=table1/{row}", *given, *epochs)
        rules = {key: build_part(getattr(settings.schedule, key), key) for key in ("rule", "sampler_rule")}
        model = make_dsn(
            classifier_optimizer=None if settings.algorithm.freezes_classifier else sgd(settings.schedule.lr),
            sampler_optimizer=sgd(settings.schedule.sampler_lr),
            schedule=rules["rule"],
            sampler_schedule=rules["sampler_rule"],
            warmup_epochs=settings.algorithm.warmup_epochs,
        )
        rates = SamplerRates()
        fit(model, epochs=settings.schedule.max_epochs, callbacks=[rates])
        steps[row] = rates.rates
    assert len(steps["dsn"]) == 6 * 2  # batches an epoch
    assert len({round(rate, 9) for rate in steps["dsn"]}) > 2
    assert steps["dsn_fixed"] == pytest.approx(steps["dsn"], rel=1e-9)
