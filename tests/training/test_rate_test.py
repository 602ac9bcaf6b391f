"""The test of the learning rate before a training: what it lowers, what it leaves alone."""

import copy

import pytest
import torch

from conftest import MeanClassifier
from dsn_lightning.algorithms.baseline import Baseline
from dsn_lightning.schedules import Cosine
from dsn_lightning.training.rate_test import diverging_factor
from helpers.processes import call
from helpers.trained_runs import metrics_of


def recogniser(lr: float) -> Baseline:
    torch.manual_seed(0)
    network = MeanClassifier(2)
    return Baseline(
        network, optimizer=lambda groups: torch.optim.SGD(groups, lr=lr, momentum=0.9), schedule=Cosine(1),
        mean=[0.5] * 3, std=[0.25] * 3,
    )  # fmt: skip


def batches(count: int = 60) -> list[dict[str, torch.Tensor]]:
    """Batches of clips whose colour is their class, with a few that are labelled wrongly."""
    rng = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        label = torch.randint(2, (8,), generator=rng)
        shown = torch.where(torch.rand(8, generator=rng) < 0.1, 1 - label, label)
        clips = (shown * 200).to(torch.uint8)[:, None, None, None, None, None, None].expand(8, 2, 1, 3, 4, 6, 6)
        found.append({"clips": clips, "targets": torch.eye(2)[label]})
    return found


def test_the_rate_at_which_a_copy_diverges_is_found_and_nothing_is_changed():
    factors = []
    for lr in (0.001, 1.0, 10.0):
        module = recogniser(lr)
        optimizer = module.configure_optimizers()
        before = copy.deepcopy((module.state_dict(), optimizer.state_dict()))
        factors.append(diverging_factor(module, optimizer, batches()))
        after = module.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before[0].items())
        assert optimizer.state_dict() == before[1]
    assert factors[0] is None  # 30 times this rate is low enough
    assert factors[1] is not None
    assert factors[2] is not None
    assert 1 / 10 < 10 * factors[2] / factors[1] < 10  # about the same rate


def test_a_loss_that_is_not_finite_has_diverged():
    module = recogniser(1e30)
    assert diverging_factor(module, module.configure_optimizers(), batches()) is not None


def test_a_training_says_that_its_rate_is_lowered_and_keeps_that_when_resumed(needle_root, tmp_path):
    common = [f"dataset.root={needle_root}", "dataset.num_train=8", "dataset.num_val=0", "dataset.num_test=4",
              "algorithm=baseline", "M=2", "schedule.batch_size=4", "schedule.lr=100", "schedule.lr_test=true",
              "schedule.rule.warmup_epochs=0", "schedule.max_epochs=3", "trainer.accelerator=cpu",
              "test.enabled=false"]  # fmt: skip
    done = call("dsn-train", *common, "hydra.run.dir=whole", cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if line.startswith("learning rate of the classifier: ")]
    assert len(said) == 1
    assert " instead of 1e+02, a tenth of the " in said[0]
    rates = [float(row["train/classifier_lr"]) for row in metrics_of(tmp_path / "whole")]
    lowered = float(said[0].split()[5])
    assert rates[0] == pytest.approx(lowered, rel=0.1)  # two digits, and the cosine has begun to fall
    call("dsn-train", *common, "hydra.run.dir=halves", "trainer.max_time={seconds:0}", cwd=tmp_path, expect=None)
    done = call("dsn-train", "resume=halves", "trainer.max_time=null", cwd=tmp_path)
    assert metrics_of(tmp_path / "halves") == metrics_of(tmp_path / "whole")


def test_low_rates_stay_and_nothing_is_said(needle_root, tmp_path):
    common = [f"dataset.root={needle_root}", "dataset.num_train=8", "dataset.num_val=0", "dataset.num_test=4",
              "algorithm=baseline", "M=2", "schedule.batch_size=4", "schedule.lr=1e-5", "schedule.max_epochs=1",
              "trainer.accelerator=cpu", "test.enabled=false"]  # fmt: skip
    done = call("dsn-train", *common, "schedule.lr_test=true", "hydra.run.dir=tested", cwd=tmp_path)
    assert "learning rate of the classifier" not in done.stderr
    call("dsn-train", *common, "hydra.run.dir=untested", cwd=tmp_path)
    assert metrics_of(tmp_path / "tested") == metrics_of(tmp_path / "untested")  # it draws no number of the training
