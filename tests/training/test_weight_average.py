"""Averaged weights, alone and in whole runs."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from conftest import NEEDLE
from dsn_lightning.config.trained import load_trained
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.training.weight_average import AveragedWeights
from helpers.processes import call, start
from helpers.trained_runs import assert_same, assert_same_run, epochs_done, state_of
from helpers.training import batch_norms, batches, differs, fit, make_dsn, make_residual_dsn, state


class Weights(pl.Callback):
    """Keeps the weights after each batch, in validation and after it."""

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
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[AveragedWeights(decay=0.7), watch],
    )
    trainer.fit(model, batches(16), batches(4))
    assert len(watch.trained) == 12
    after_steps = watch.trained[accumulate - 1 :: accumulate]
    assert_close(state(model), average_by_hand(after_steps, 0.7))
    assert not torch.equal(model.classifier.fc.weight, watch.trained[-1]["classifier.fc.weight"])
    for epoch in range(3):
        done = 4 * (epoch + 1)
        assert_close(watch.validated[epoch], average_by_hand(after_steps[: done // accumulate], 0.7))
        assert_same(
            watch.afterwards[epoch], watch.trained[done - 1]
        )  # training continues from the weights, not from the average


def test_training_is_the_same_with_an_average_beside_it():
    """So rewards, too, are computed with the weights in training."""
    plain, averaged = Weights(), Weights()
    fit(make_dsn(), epochs=3, callbacks=[plain])
    fit(make_dsn(), epochs=3, callbacks=[AveragedWeights(decay=0.9), averaged])
    assert_same(averaged.trained, plain.trained)


def test_fixed_classifier_stays_bit_identical_under_an_average():
    """decay * x + (1 - decay) * x is not always x, and a counter of 3 batches would become 2."""
    model = make_residual_dsn(classifier_optimizer=None)
    sampler = state(model.observation)
    for norm in batch_norms(model.classifier):
        norm.num_batches_tracked.fill_(3)
    before = state(model.classifier)
    fit(model, epochs=3, callbacks=[AveragedWeights(decay=0.9)])
    assert_same(state(model.classifier), before)
    assert differs(sampler, model.observation)


TUNED = [
    "schedule=finetune",
    "schedule.ema=0.8",
    "schedule.head_lr=0.05",
    "schedule.sampler_head_lr=0.02",
    "schedule.max_epochs=4",
    "schedule.batch_size=4",
    "M=2",
    "N=2",
    "trainer.check_val_every_n_epoch=2",
    "algorithm.warmup_epochs=1",
    "trainer.accelerator=cpu",
    "checkpoint.every_n_batches=1",
    "progress=false",
    "selection=[dsn]",
    *NEEDLE,
]


@pytest.fixture(
    scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["one process", "two processes"]
)
def tuned(request, needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with all of these settings, and its arguments."""
    root = tmp_path_factory.mktemp("tuned")
    arguments = [f"dataset.root={needle_root}", *TUNED, f"trainer.devices={request.param}", "hydra.run.dir=run"]
    done = call("dsn-train", *arguments, cwd=root)
    said = [line for line in done.stderr.splitlines() if "arning" in line]
    assert all("has not learned" in line or "still uniform" in line for line in said), said  # it is short
    return root / "run", arguments


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tuned, tmp_path):
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
    trained = load_trained(whole / "checkpoints" / "last.ckpt", key="checkpoint")
    assert_same(dict(trained.recognizer.state_dict()), dict(averages))
    assert [g["weight_decay"] for o in content["optimizer_states"] for g in o["param_groups"]] == [5e-4, 5e-4, 0.0] * 2


def scores_of(run: Path) -> np.ndarray:
    return ClipScores.load(run / "clip_scores.npz").clip_logits


def test_evaluations_use_the_averages(tuned, tmp_path):
    """At the end of dsn-train, in dsn-evaluate, and when a finished or stopped run is resumed."""
    whole, arguments = tuned
    expected = scores_of(whole)
    call(
        "dsn-evaluate",
        f"checkpoint={whole / 'checkpoints' / 'last.ckpt'}",
        "selection=[dsn]",
        "hydra.run.dir=evaluated",
        cwd=tmp_path,
    )
    assert np.array_equal(scores_of(tmp_path / "evaluated"), expected)
    if "trainer.devices=2" in arguments:
        return
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "clip_scores.npz").unlink()
    call("dsn-train", f"resume={tmp_path / 'run'}", cwd=tmp_path)
    assert np.array_equal(scores_of(tmp_path / "run"), expected)
    longer = [a for a in arguments if "max_epochs" not in a]
    call(
        "dsn-train",
        *longer,
        "schedule.max_epochs=2000",
        "trainer.max_time=00:00:00:01",
        "hydra.run.dir=late",
        cwd=tmp_path,
    )
    stopped = tmp_path / "late"
    assert json.loads((stopped / "status.json").read_text())["state"] == "finished"
    call(
        "dsn-evaluate",
        f"checkpoint={stopped / 'checkpoints' / 'last.ckpt'}",
        "selection=[dsn]",
        "hydra.run.dir=again",
        cwd=tmp_path,
    )
    assert np.array_equal(scores_of(tmp_path / "again"), scores_of(stopped))
