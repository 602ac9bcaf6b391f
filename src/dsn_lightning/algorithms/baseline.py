"""The clip classifier alone: the baseline of DSN, and the network that max-response sampling ranks clips with."""

from typing import Any

import torch
from torch import Tensor

from dsn_lightning.algorithms.dsn import video_cross_entropy
from dsn_lightning.algorithms.recognizer import MakeOptimizer, Recognizer
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.consensus import Consensus, consensus_log_probabilities


class Baseline(Recognizer):
    """Trains a classifier on one clip per section; with M > 1 the clips' scores are averaged, as in TSN.

    A training clip is drawn at random from its section, a test clip is the section's middle: random and uniform
    sampling (Sec. V-C). Batches have N = 1.

    Args:
        classifier: normalised clips (B, C, T, H, W) -> logits (B, J).
        optimizer: makes an optimiser from the classifier's parameter groups.
        consensus: see `dsn_lightning.consensus.consensus_log_probabilities`.
        **shared: arguments of `Recognizer`.
    """

    optimizer_names = ("classifier",)

    def __init__(
        self,
        classifier: ClipNetwork,
        *,
        optimizer: MakeOptimizer,
        consensus: Consensus = "probabilities",
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.classifier = classifier
        self.make_optimizer = optimizer
        self.consensus: Consensus = consensus

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the classifier's optimiser."""
        return self.make_optimizer(self.parameter_groups("classifier"))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Make one SGD step on the video-level cross-entropy (Eq. 5)."""
        loss = video_cross_entropy(self.predict(batch), batch["targets"])
        self.update(self.optimizer_list()[0], loss, batch_idx, name="classifier")

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Return log H (B, J) over the batch's clips (B, M, N=1, C, T, H, W)."""
        return consensus_log_probabilities(self.classify(batch["clips"]).flatten(1, 2), consensus=self.consensus)
