"""Logistic regression on the features of a network: the start of its classification layer, and a comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.clip_network import classification_layer
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.initial_weights import start_from
from dsn_lightning.config.settings import Settings
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.datasets.records import Subset
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.linear_probe import Array, LinearProbe, fit_linear_probe
from dsn_lightning.evaluation.results import Row
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.status import store_warnings
from dsn_lightning.selections import Uniform
from dsn_lightning.text_tables import PrintableConsole, percent


def start_head(recognizer: Recognizer, data: SectionClipDataModule, *, device: torch.device) -> None:
    """Give the classifier the classification layer of logistic regression on its features of the training videos.

    Raises:
        UsageError: its classification layer is not a linear one.
    """
    layer = classification_layer(recognizer.classifier)
    if not isinstance(layer, nn.Linear):
        raise UsageError(
            f"classifier.head=logistic_regression: the classification layer of {type(recognizer.classifier).__name__} "
            f"is not a torch.nn.Linear but a {type(layer).__name__}; use classifier.head=fresh"
        )
    if len(data.classes) > 1:
        probe = _probe(recognizer.to(device), data)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(probe.weight))
            layer.bias.copy_(torch.from_numpy(probe.bias))


def compare_with_linear_probe(
    rows: Sequence[Row], settings: Settings, data: SectionClipDataModule, *, device: torch.device
) -> dict[str, Any] | None:
    """Print the top-1 rates of logistic regression and of the run's classifier, both with uniform clips; return them.

    A classifier that is below is also a warning of the run. Returns None, without a word, where there is nothing to
    compare: several labels per video, no row of uniform clips, or a single class.
    """
    own = (Uniform.name, settings.algorithm.name, settings.test.M[0])
    found = [row for row in rows if (row["selection"], row["classifier"], row["M"]) == own]
    if not found or found[0]["top1"] is None or len(data.classes) < 2:
        return None
    with isolate_rng():
        recognizer = build_recognizer(settings, len(data.classes))
        start_from(recognizer, settings, classes=data.classes)
    recognizer = recognizer.to(device)
    rate = _probe(recognizer, data).top1(*_features(recognizer, data, settings.test.subset))
    trained, videos = found[0]["top1"], found[0]["videos"]
    line = (
        f"logistic regression on the features that the classifier started from: top-1 {percent(rate)}; the trained "
        f"classifier, with the same clips: {percent(trained)} ({videos} videos)"
    )
    if trained < rate - 1e-6:  # they are rounded differently
        text = f"the classifier does not beat its own frozen features: {line}"
        run = RunFolder(settings.folder)
        warning = {"epoch": settings.schedule.max_epochs, "text": text}
        store_warnings(run, [*run.status().get("warnings", []), warning])
        line = f"warning: {text}"
    PrintableConsole().print(line, soft_wrap=True, markup=False, highlight=False)
    return {"top1": rate, "classifier_top1": trained}


def _probe(recognizer: Recognizer, data: SectionClipDataModule) -> LinearProbe:
    return fit_linear_probe(*_features(recognizer, data, "train"))


@torch.inference_mode()
def _features(recognizer: Recognizer, data: SectionClipDataModule, subset: Subset) -> tuple[Array, Array]:
    """Return what the classification layer gets for each video, averaged over uniform clips, and the targets."""
    inputs: list[Tensor] = []
    features, targets = [], []
    layer = classification_layer(recognizer.classifier)
    handle = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].flatten(1)))
    recognizer.eval()
    try:
        for batch in data.uniform_batches(subset):
            recognizer.classify(batch["clips"].to(recognizer.device).flatten(1, 2))
            shape = (-1, batch["clips"].shape[1] * batch["clips"].shape[2])
            features.append(inputs.pop().float().unflatten(0, shape).mean(1)[: batch["num_videos"]].cpu())
            targets.append(batch["targets"][: batch["num_videos"]])
    finally:
        handle.remove()
    return torch.cat(features).numpy().astype(np.float32), torch.cat(targets).numpy()
