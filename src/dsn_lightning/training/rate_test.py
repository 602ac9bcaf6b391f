"""A short test before a training that finds out whether the classifier's learning rate is too high."""

import copy
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from dsn_lightning.algorithms.baseline import Baseline
from dsn_lightning.algorithms.dsn import DSN, video_cross_entropy
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.data.batches import Draw, EpochOrder
from dsn_lightning.data.section_clips import SectionClips, collate
from dsn_lightning.errors import UsageError
from dsn_lightning.text_tables import PrintableConsole

_STEPS = 60
_RANGE = (1 / 30, 30.0)
"""Rates of the first and the last step, as multiples of the training's."""
_MARGIN = 10.0
"""How far below the rate at which it diverges a training stays."""
_RISE = 1.25
"""A smoothed loss above as many times that of guessing, or that of the beginning if it is higher, has diverged."""
_SMOOTHING = 0.8
_BEGINNING = 5
"""Steps, at rates too low to matter, whose mean loss is that of the beginning."""


class RateTest(pl.Callback):
    """Lowers the classifier's learning rates to a tenth of the rate at which a copy of it diverges (Smith, WACV 2017).

    The copy makes 60 steps on training batches while its rates rise from 1/30 of the training's to 30 times these. A
    training whose rates are low enough keeps them. A resumed training has the rates that it was started with.

    Attributes:
        factor: of the classifier's learning rates, at most 1; None before the test.
    """

    def __init__(self) -> None:
        self.factor: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the factor."""
        return {"factor": self.factor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the factor; the optimiser's state has the rates."""
        self.factor = state_dict["factor"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test the rates in the first process, and set those of all."""
        assert isinstance(pl_module, Baseline | DSN)
        if self.factor is not None or "classifier" not in pl_module.optimizer_names:
            return
        optimizer = pl_module.optimizer_list()[list(pl_module.optimizer_names).index("classifier")].optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        diverged = None
        pl_module.train()
        if trainer.is_global_zero:
            with isolate_rng():
                torch.manual_seed(pl_module.seed)
                diverged = diverging_factor(pl_module, optimizer, _batches(trainer, pl_module))
        self.factor = trainer.strategy.broadcast(1.0 if diverged is None else min(1.0, diverged / _MARGIN))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = rate * self.factor
        if trainer.is_global_zero and self.factor < 1:
            assert diverged is not None
            PrintableConsole(stderr=True).print(
                f"learning rate of the classifier: {rates[0] * self.factor:.2g} instead of {rates[0]:.2g}, a tenth of "
                f"the {rates[0] * diverged:.2g} at which the loss diverges in a test of {_STEPS} steps",
                soft_wrap=True,
                markup=False,
                highlight=False,
            )


def diverging_factor(
    module: Baseline | DSN, optimizer: torch.optim.Optimizer, batches: Iterable[dict[str, Any]]
) -> float | None:
    """Return the multiple of an optimiser's rates at which a copy of the classifier diverges; None if it does not.

    Args:
        module: the recogniser; it is not changed.
        optimizer: of its classifier; it is not changed.
        batches: one for each step.
    """
    network = copy.deepcopy(module.classifier)
    copies = dict(zip(module.classifier.parameters(), network.parameters(), strict=True))
    groups = [{**group, "params": [copies[p] for p in group["params"]]} for group in optimizer.param_groups]
    trial = type(optimizer)(groups, **optimizer.defaults)
    parameters = [p for group in trial.param_groups for p in group["params"]]
    rates, losses, smoothed = [group["lr"] for group in trial.param_groups], list[float](), 0.0
    for step, batch in enumerate(batches):
        factor = _RANGE[0] * (_RANGE[1] / _RANGE[0]) ** (step / (_STEPS - 1))
        for group, rate in zip(trial.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        clips, targets = (batch[name].to(module.device) for name in ("clips", "targets"))
        shown = clips[:, :, 0]  # (B, M, C, T, H, W): one clip of each section, as in the warm-up
        logits = network(module.normalize(shown).flatten(0, 1)).float().unflatten(0, shown.shape[:2])
        loss = video_cross_entropy(consensus_log_probabilities(logits, consensus=module.consensus), targets)
        losses.append(loss.item())
        beginning = statistics.fmean(losses[:_BEGINNING])
        smoothed = beginning if step < _BEGINNING else _SMOOTHING * smoothed + (1 - _SMOOTHING) * losses[-1]
        if not smoothed <= _RISE * max(beginning, math.log(targets.shape[1])):  # also if it is not finite
            return factor
        trial.zero_grad()
        loss.backward()
        if module.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, module.gradient_clip)
        trial.step()
    return None


def _batches(trainer: pl.Trainer, module: Baseline | DSN) -> Iterator[dict[str, Any]]:
    """Return the batches of the first epochs, over all processes, one for each step of the test."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    clips: SectionClips = data.section_clips("train")
    size = min(data.loading.batch_size, len(clips))
    return itertools.islice(_forever(clips, size, seed=module.seed), _STEPS)


def _forever(clips: SectionClips, batch_size: int, *, seed: int) -> Iterator[dict[str, Any]]:
    for epoch in itertools.count():
        draws: list[Draw] = list(EpochOrder(len(clips), seed=seed, epoch=epoch))
        for first in range(0, len(draws) - batch_size + 1, batch_size):
            batch = collate([clips[draw] for draw in draws[first : first + batch_size]])
            if isinstance(batch, UsageError):
                raise batch
            yield batch
