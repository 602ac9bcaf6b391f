"""Compiled networks learn what others learn, with one compilation a mode, and leave no trace in a checkpoint."""

import shutil

import pytest
import pytorch_lightning as pl
import torch

from conftest import NEEDLE
from dsn_lightning.backbones import ResNet3D
from dsn_lightning.cli.train_recipe import train
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.trained import load_trained
from dsn_lightning.errors import UsageError
from dsn_lightning.observations import ConcatObservation
from dsn_lightning.training.compilation import compiled
from helpers.trained_runs import state_of
from helpers.training import fit, make_dsn


class NoMoreGraphs(pl.Callback):
    """Refuses to compile anything after the first epoch."""

    def on_train_epoch_start(self, trainer, model):
        torch.compiler.set_stance("fail_on_recompile" if trainer.current_epoch else "default")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_compiled_networks_learn_the_same_and_stop_compiling():
    models = [make_dsn() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    fit(models[0], epochs=3)
    networks = [models[1].classifier, models[1].observation]
    try:
        with compiled(networks):
            fit(models[1], epochs=3, callbacks=[NoMoreGraphs()])
            assert all(network._compiled_call_impl is not None for network in networks)
    finally:
        torch.compiler.set_stance("default")
    eager, compiled_ones = (model.state_dict() for model in models)
    assert eager.keys() == compiled_ones.keys()
    for name, value in eager.items():
        torch.testing.assert_close(compiled_ones[name], value, rtol=1e-4, atol=1e-5)
    assert all(network._compiled_call_impl is None for network in networks)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_checkpoint_of_a_compiled_training_is_like_any_other(needle_root, tmp_path, monkeypatch):
    given = [f"dataset.root={needle_root}", *NEEDLE, "M=2", "N=3", "schedule.batch_size=4", "trainer.accelerator=cpu"]
    given += ["schedule.max_epochs=2", "algorithm.warmup_epochs=1", "test.enabled=false", "progress=false"]
    compiled_networks = []
    compiling = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: (compiled_networks.append(type(self)), compiling(self))
    )
    train(settings_of(*given, f"run_dir={tmp_path}", "compile=true"))
    assert compiled_networks == [ResNet3D, ConcatObservation]
    weights = state_of(tmp_path)["state_dict"]
    loaded = load_trained(tmp_path / "checkpoints" / "last.ckpt", key="checkpoint").recognizer
    assert all(torch.equal(weights[name], value) for name, value in loaded.state_dict().items())


def test_a_missing_compiler_is_named_before_the_training(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(UsageError, match=r"^compile=true: found no C\+\+ compiler no-such-compiler; "):
        train(settings_of(f"run_dir={tmp_path / 'run'}", "compile=true"))
    assert not (tmp_path / "run").exists()


def test_checkpointed_activations_are_not_compiled(tmp_path):
    given = ["backbone=r3d_18", "+backbone.network.checkpoint_activations=true", "compile=true"]
    with pytest.raises(UsageError, match=r"^compile=true: does not go with backbone\.network\.checkpoint_activations"):
        train(settings_of(f"run_dir={tmp_path / 'run'}", *given))
