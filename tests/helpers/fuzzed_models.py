"""Parsers of what describes and holds networks, and of configurations, for the fuzz tests."""

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import yaml

from dsn_lightning.backbones.weights import WeightsError, read_weights
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.arguments import begin_job, continue_run
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.exported_files import exported_preset
from dsn_lightning.config.huggingface_files import huggingface_preset, read_model_config
from dsn_lightning.config.recipes import choose_recipe
from dsn_lightning.config.saved_folder import write_folder
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import finished_trainings
from dsn_lightning.config.trained import checkpoint_record, load_trained
from dsn_lightning.errors import UsageError
from helpers.fuzzed_parser import Parser
from helpers.synthetic import CLASSES, composed, save_checkpoint

OVERRIDES = ("backbone=r3d_tiny", "observation=r2d_tiny", "dataset.root=videos", "M=2", "N=2")


@cache
def recognizer() -> Any:
    torch.manual_seed(0)
    return build_recognizer(composed(*OVERRIDES), len(CLASSES)).eval()


def same_state(found: dict[str, Any], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def write_checkpoint(root: Path) -> None:
    root.mkdir(exist_ok=True)
    save_checkpoint(recognizer(), composed(*OVERRIDES), root / "last.ckpt")


def write_saved(root: Path) -> None:
    root.mkdir(exist_ok=True)
    record = checkpoint_record(composed(*OVERRIDES), classes=CLASSES, trained_on=None, basis={"videos": 2})
    write_folder(root / "model", record, recognizer().state_dict(), card="")


def read_trained(name: str, root: Path) -> None:
    """Build the networks; the weights have checksums, or a digest."""
    trained = load_trained(root / name, key="checkpoint")
    assert len(trained.classes) == len(CLASSES)
    assert same_state(trained.recognizer.state_dict(), recognizer().state_dict())


TENSORS = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(2)}


def write_weights(root: Path) -> None:
    root.mkdir(exist_ok=True)
    torch.save({"state_dict": TENSORS, "epoch": 3}, root / "weights.pth")
    torch.save({"state_dict": TENSORS, "epoch": 3}, root / "old.pth", _use_new_zipfile_serialization=False)


def read_state(name: str, root: Path) -> None:
    """Read weights; those in an archive have checksums."""
    try:
        content = read_weights(root / name)
    except WeightsError as error:
        raise UsageError(str(error)) from None
    assert isinstance(content, dict)
    if name == "weights.pth":
        assert same_state(content["state_dict"], TENSORS)


def write_run(root: Path) -> None:
    """A finished baseline, as a run to go on with, a job to begin and a shared training."""
    settings = composed(*OVERRIDES, "algorithm=baseline").changed({"run_dir": str(root)})
    (root / "checkpoints").mkdir(parents=True)
    (root / "checkpoints" / "last.ckpt").touch()
    for name in ("config.yaml", "composed.yaml"):
        (root / name).write_text(yaml.safe_dump(dict(settings.plain), sort_keys=False))
    (root / "config.json").write_text(json.dumps(dict(settings.plain)))
    status = {"format": 1, "state": "finished", "exit_code": 0, "pid": 1, "host": "", "started": 1.0, "ended": 2.0}
    (root / "status.json").write_text(json.dumps(status))
    (root / "progress.json").write_text('{"epoch": 2, "max_epochs": 2}')


def read_resumed(root: Path) -> None:
    assert "--config-name" in continue_run([f"resume={root}"])


def read_job(root: Path) -> None:
    assert "--config-name" in begin_job(root, root.parent, [])


def read_shared(root: Path) -> None:
    assert set(finished_trainings([root]).values()) <= {root}


MODEL = {
    "model_type": "videomae",
    "image_size": 32,
    "num_frames": 4,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "id2label": {"0": "walk", "1": "run"},
}
PROCESSOR = {
    "size": {"shortest_edge": 36},
    "crop_size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "rescale_factor": 0.00392156862745098,
}


def write_transformers(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "config.json").write_text(json.dumps(MODEL))
    (root / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))


def read_transformers(root: Path) -> None:
    read_model_config.cache_clear()
    read_preset(partial(huggingface_preset, str(root)), "config")


def read_preset(preset: Callable[[str], Any], *more: str) -> None:
    """Read what a classifier of another program says about its clips."""
    for what in ("classes", "frames", "stride", "frame_size", "resize", "crop_size", "mean", "std", *more):
        json.dumps(preset(what))


EXPORT = {"T": 4, "stride": 2, "frame_size": [36, 48], "resize": "short_side", "crop_size": 32, "mean": [0.5] * 3}
EXPORT |= {"std": [0.25] * 3, "fps": 12.5, "classes": ["walk", "run"]}
EXPORT |= {"networks": {"classifier": {"file": "classifier.onnx", "input": {"type": "uint8"}}}}


def write_export(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / "classifier.onnx").touch()
    (root / "export.json").write_text(json.dumps(EXPORT))


def read_export(root: Path) -> None:
    read_preset(lambda what: exported_preset(str(root / "classifier.onnx"), what, 32), "pixels")


PLUG_IN = """# @package _global_
defaults:
  - override /schedule: tiny
name: mine
recipe: none
reading: {fps: null, size: [1, 2.5]}
"""


def write_plug_in(root: Path) -> None:
    (root / "dataset").mkdir(parents=True)
    (root / "dataset" / "mine.yaml").write_text(PLUG_IN)


def read_plug_in(root: Path) -> None:
    """Read a configuration of the user before Hydra does."""
    arguments = [f"--config-dir={root}", "dataset=mine", "dataset.name=a"]
    refuse_unknown_keys(Settings, "train")(choose_recipe(arguments))


PARSERS = {
    "checkpoint": Parser("last.ckpt", write_checkpoint, partial(read_trained, "last.ckpt"), 1),
    "saved record": Parser("model/config.json", write_saved, partial(read_trained, "model"), 2),
    "saved weights": Parser("model/model.safetensors", write_saved, partial(read_trained, "model"), 1),
    "weights": Parser("weights.pth", write_weights, partial(read_state, "weights.pth")),
    "old weights": Parser("old.pth", write_weights, partial(read_state, "old.pth")),
    "resumed run": Parser("config.yaml", write_run, read_resumed, 2),
    "job to begin": Parser("composed.yaml", write_run, read_job, 1),
    "shared training": Parser("config.json", write_run, read_shared, 2),
    "transformers": Parser("config.json", write_transformers, read_transformers, 2),
    "transformers' processor": Parser("preprocessor_config.json", write_transformers, read_transformers, 2),
    "export record": Parser("export.json", write_export, read_export, 2),
    "plug-in": Parser("dataset/mine.yaml", write_plug_in, read_plug_in, 2),
}
