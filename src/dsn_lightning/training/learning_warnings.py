"""Warnings of a training that learns nothing: a classifier at chance, a policy that has collapsed or is still uniform.

Evaluations look for the same signs in `dsn_lightning.evaluation.learning_checks`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, stack

from dsn_lightning.algorithms.policy_monitor import has_collapsed, is_uniform
from dsn_lightning.text_tables import PrintableConsole

StoreWarnings = Callable[[Sequence[Mapping[str, Any]]], None]

_FEW_EPOCHS = 3
"""After as many epochs, and after the last one, the classifier's loss is compared with that of guessing."""
_CHANCE = 0.98
"""A loss above this share of that of guessing is at chance."""


class LearningWarnings(pl.Callback):
    """Prints a warning when a network has learned nothing, and keeps it in the run's files; reads what `EpochLog` logs.

    The warnings are part of every checkpoint, so a resumed run has each once, wherever it was stopped.

    Args:
        num_classes: J, for the loss of guessing.
        store: gets all warnings so far, ``{"epoch": from 1, "text": ...}``, at the start and after each new one.
        on_collapse: gets the text of the warning that the policy has collapsed.
    """

    def __init__(
        self, *, num_classes: int, store: StoreWarnings, on_collapse: Callable[[str], None] = lambda text: None
    ) -> None:
        self.num_classes = num_classes
        self.store = store
        self.on_collapse = on_collapse
        self.warnings: list[dict[str, Any]] = []
        self.collapsed = False

    def state_dict(self) -> dict[str, Any]:
        """Return the warnings so far, and whether the policy has collapsed."""
        return {"warnings": self.warnings, "collapsed": self.collapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the warnings of the run that is resumed."""
        self.warnings = [dict(warning) for warning in state_dict["warnings"]]
        self.collapsed = state_dict["collapsed"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the warnings of the epochs that are not repeated."""
        if trainer.is_global_zero:
            self.store(self.warnings)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn of what the figures of the epoch show."""
        if not trainer.is_global_zero:
            return
        epoch, is_last = trainer.current_epoch + 1, trainer.current_epoch + 1 == trainer.max_epochs
        logged, texts = trainer.callback_metrics, []
        had_collapsed = self.collapsed
        if "train/policy_entropy" in logged:  # not in the warm-up
            count = sum(name.startswith("train/position_share_") for name in logged)
            shares = stack([logged[f"train/position_share_{position}"] for position in range(count)])
            statistics = {"entropy": logged["train/policy_entropy"], "position_share": shares}
            texts += self._of_policy(statistics, epoch, is_last)
        if "train/classifier_loss" in logged and (is_last or epoch == _FEW_EPOCHS):
            texts += self._of_classifier(float(logged["train/classifier_loss"]), epoch)
        for text in texts:
            PrintableConsole(stderr=True).print(f"warning: {text}", soft_wrap=True, markup=False, highlight=False)
            self.warnings.append({"epoch": epoch, "text": text})
        if texts:
            self.store(self.warnings)
        if self.collapsed and not had_collapsed:
            self.on_collapse(texts[0])

    def _of_policy(self, statistics: dict[str, Tensor], epoch: int, is_last: bool) -> list[str]:
        shares, entropy = statistics["position_share"], float(statistics["entropy"])
        had_collapsed, self.collapsed = self.collapsed, has_collapsed(statistics)
        if self.collapsed and not had_collapsed:
            return [
                f"the policy has collapsed: in epoch {epoch} it keeps clip {int(shares.argmax())} in "
                f"{float(shares.max()):.1%} of the sections with an entropy of {entropy:.4f}, so A = B, Eq. 11 has no "
                "gradient and the sampler has stopped learning. Remedy: start again with algorithm.exploration=0.1 or "
                "a smaller schedule.sampler_lr"
            ]
        if is_last and is_uniform(statistics):
            return [
                f"the policy is still uniform after the last epoch: its entropy is {entropy:.4f}, and ln {len(shares)} "
                f"= {math.log(len(shares)):.4f}. The sampler has learned nothing yet. More schedule.max_epochs or a "
                "larger schedule.sampler_lr may help"
            ]
        return []

    def _of_classifier(self, loss: float, epoch: int) -> list[str]:
        guessing = math.log(self.num_classes)
        if self.num_classes < 2 or loss < _CHANCE * guessing:  # not true of NaN
            return []
        return [
            f"the classifier has not learned: its loss in epoch {epoch}, {loss:.2f}, is not below that of guessing "
            f"(ln {self.num_classes} = {guessing:.2f}) by 2%. Another schedule.lr may help"
        ]
