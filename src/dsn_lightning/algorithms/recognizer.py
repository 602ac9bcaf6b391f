"""What all recognisers share: normalisation, manual optimisation, learning rates, validation metrics."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.algorithms.finite_steps import FiniteSteps, OnNonfinite, refuse_nonfinite_scores
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.errors import UsageError
from dsn_lightning.metrics import EpochMeans, VideoMetrics, states_of_all, take_state
from dsn_lightning.observations.observation_network import ObservationNetwork
from dsn_lightning.schedules import Schedule
from dsn_lightning.stateless_random import stateless_seed, stateless_uniforms

MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
"""Makes an optimiser from its parameter groups."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` into eval mode and restore the mode of each of its submodules afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class Recognizer(pl.LightningModule):
    """Base of `DSN` and `Baseline`.

    Args:
        schedule: factor of the learning rates as a function of the epoch.
        mean, std: of each channel, for pixel values in [0, 1].
        seed: key of all random numbers drawn in training.
        gradient_clip: largest 2-norm of an optimiser's gradient; None does not clip.
        accumulate: batches whose gradients are averaged before a step, >= 1.
        finetuning: what stays frozen, and the optimisers' parameter groups.
        on_nonfinite: what a loss or gradient that is not finite does; see `FiniteSteps`.

    The gradient of a step is the mean over its videos, whatever their distribution over processes and accumulated
    batches.
    """

    classifier: ClipNetwork
    observation: ObservationNetwork  # of DSN only
    optimizer_names: Sequence[str]  # in the order of `configure_optimizers`
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        schedule: Schedule,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        gradient_clip: float | None = None,
        accumulate: int = 1,
        finetuning: FineTuning | None = None,
        on_nonfinite: OnNonfinite = "stop",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.schedules = {"classifier": schedule, "sampler": schedule}
        self.seed = seed
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.finetuning = finetuning or FineTuning()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1, 1), persistent=False)
        self.steps = FiniteSteps(on_nonfinite)
        self.validation_metrics = VideoMetrics()
        self.validation_ids: list[str] = []  # of the videos in the metrics, in this process
        names = ("classifier", "sampler")
        figures = [f"train/{name}_{quantity}" for name in names for quantity in ("loss", "gradient_norm", "lr")]
        figures += [f"train/{name}_head_lr" for name in names if self.finetuning.head_lr_of(name) is not None]
        self.means = EpochMeans(figures)
        self.num_videos = 0  # of this process in the current batch
        self.batches_seen = 0  # in training, over all epochs: the step of loggers, which `global_step` is not
        self.videos_in_step = {"classifier": 0, "sampler": 0}  # of this process since the optimiser's last step
        self.completes: str | None = None  # optimiser whose gradient is complete after the current backward pass

    @abstractmethod
    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Return log H, the log-probabilities of the videos' classes (B, J), for a batch of test clips."""

    def network(self, name: str) -> ClipNetwork | ObservationNetwork:
        """Return the network that the optimiser ``name`` trains."""
        return self.observation if name == "sampler" else self.classifier

    def parameter_groups(self, name: str) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimiser ``name``; see `FineTuning.groups`."""
        return self.finetuning.groups(self.network(name), name=name)

    def setup(self, stage: str) -> None:
        """Freeze layers before Lightning wraps the networks; a network to be trained must have parameters left."""
        if stage == "fit":
            self.finetuning.freeze(self)
            for name in self.optimizer_names:
                self.parameter_groups(name)

    def on_train_start(self) -> None:
        """Enter the training mode, which Lightning leaves to the user; it restores the modes after each validation."""
        self.train()

    def train(self, mode: bool = True) -> "Recognizer":
        """Set the training mode; frozen batch-norm layers stay in eval mode."""
        super().train(mode)
        self.finetuning.keep_frozen(self)
        return self

    def normalize(self, clips: Tensor) -> Tensor:
        """Normalise uint8 clips (..., C, T, H, W); clips of activations, which are float16, become float32."""
        return clips.float() if clips.is_floating_point() else (clips - self.mean).div_(self.std)

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> Self:
        """Refuse Lightning's way, which would need all arguments again, and say what to call."""
        raise UsageError(
            "load_from_checkpoint: a checkpoint of dsn-train knows its networks; use "
            "dsn_lightning.DSN.from_pretrained(PATH)"
        )

    def classify(self, clips: Tensor) -> Tensor:
        """Return the classifier's logits (..., J) for uint8 clips (..., C, T, H, W)."""
        logits = self.classifier(self.normalize(clips).flatten(0, -5)).float()
        return logits.unflatten(0, clips.shape[:-4])

    def optimizer_list(self) -> list[Any]:
        """Return the optimisers in the order of `configure_optimizers`."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def update(self, optimizer: Any, loss: Tensor, batch_idx: int, *, name: str) -> None:
        """Add the gradient of ``loss``, and make a step when a group of ``accumulate`` batches is complete.

        The loss is the mean over this process's videos; the optimiser is that of the network ``name``.
        """
        finite = self.steps.add_loss(name, loss)
        self.means.update(f"train/{name}_loss", torch.where(finite, loss.detach(), 0.0), finite * self.num_videos)
        self.videos_in_step[name] += self.num_videos
        processes = self.trainer.world_size  # which DDP averages over
        self.completes = name if self.ends_group(batch_idx) else None
        self.manual_backward(loss * (self.num_videos * processes))
        self._share_statistics(self.network(name))
        if self.completes:
            optimizer.step()
            optimizer.zero_grad()

    def _share_statistics(self, network: nn.Module) -> None:
        """Give all processes the mean of their running batch statistics, weighted by their videos in this batch.

        DDP would broadcast those of the first process before each forward pass; no forward pass runs through it.
        """
        norms = [part for part in network.modules() if isinstance(part, _NormBase) and part.training]
        buffers = [b for part in norms for b in (part.running_mean, part.running_var) if b is not None]
        if self.trainer.world_size == 1 or not buffers:
            return
        flat = torch.cat([*(b.flatten() for b in buffers), buffers[0].new_ones(1)]) * self.num_videos
        flat = self.trainer.strategy.reduce(flat, reduce_op="sum")
        parts = (flat[:-1] / flat[-1]).split([b.numel() for b in buffers])
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.copy_(part.view_as(buffer))

    def ends_group(self, batch_idx: int) -> bool:
        """Tell whether the optimisers make a step after this batch; an epoch's last group may be smaller."""
        return (batch_idx + 1) % self.accumulate == 0 or batch_idx + 1 == int(self.trainer.num_training_batches)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradient by the number of the step's videos, clip and check it; fp16 gradients are unscaled."""
        owners = [o.optimizer for o in self.optimizer_list()]
        name = self.optimizer_names[owners.index(optimizer)]
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        videos = torch.full((), float(self.videos_in_step[name]), device=self.device)
        sums = torch.stack([videos, self.steps.num_nonfinite(name)])
        count, num_nonfinite = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self.videos_in_step[name] = 0
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_div_(gradients, count)
        norm = nn.utils.get_total_norm(gradients)
        if self.gradient_clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip, norm)
        finite = torch.isfinite(norm)  # False after an fp16 overflow; such a step is skipped
        self.means.update(f"train/{name}_gradient_norm", torch.where(finite, norm, 0.0), finite.float())
        plugin = self.trainer.precision_plugin
        scaled = isinstance(plugin, MixedPrecision) and plugin.scaler is not None
        self.steps.end_step(name, self.network(name), num_nonfinite=num_nonfinite, norm=norm, scaled=scaled)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates for this batch, and seed torch's global generator, which dropout draws from."""
        if batch_idx % self.accumulate == 0:
            self.steps.begin_step({name: self.network(name) for name in self.optimizer_names})
        self.steps.add_batch(self.current_epoch, batch_idx, batch["video_id"])
        self.num_videos = batch.get("num_videos", len(batch["targets"]))
        self.batches_seen += 1
        torch.manual_seed(stateless_seed(self.seed, self.current_epoch, batch_idx, self.global_rank, "dropout"))
        epoch = self.current_epoch + batch_idx / int(self.trainer.num_training_batches)
        for name, optimizer in zip(self.optimizer_names, self.optimizer_list(), strict=True):
            factor = self.schedules[name].factor(epoch)
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            heads, rest = ([g for g in optimizer.param_groups if bool(g.get("head")) == h] for h in (True, False))
            self.means.update(f"train/{name}_lr", (rest or heads)[0]["lr"])
            if heads:
                self.means.update(f"train/{name}_head_lr", heads[0]["lr"])

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Check the last step of an epoch before the validation."""
        if batch_idx + 1 == int(self.trainer.num_training_batches):
            self.steps.check()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counts and the sums of the epoch; a checkpoint may be written within an epoch."""
        self.steps.check()
        checkpoint["batches_seen"] = self.batches_seen
        checkpoint["skipped_steps"] = dict(self.steps.skipped)
        checkpoint["epoch_sums"] = {name: states_of_all(metric) for name, metric in self._epoch_sums().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore both; with another number of processes the sums start from zero.

        Raises:
            ValueError: a count is no whole number.
        """
        seen, skipped = checkpoint["batches_seen"], dict(checkpoint["skipped_steps"])
        if not all(type(count) is int for count in (seen, *skipped.values())):
            raise ValueError("expected whole numbers in batches_seen and skipped_steps")
        self.batches_seen, self.steps.skipped = seen, skipped
        for name, metric in self._epoch_sums().items():
            states = checkpoint["epoch_sums"][name]
            if len(states) == self.trainer.world_size:
                take_state(metric, states, rank=self.trainer.global_rank)

    def _epoch_sums(self) -> dict[str, Any]:
        return {name: child for name, child in self.named_children() if name in ("means", "monitor")}

    def uniforms(self, video_ids: Sequence[str], count: int, purpose: str) -> Tensor:
        """Return numbers in [0, 1), (B, count), that depend only on seed, epoch, video and purpose."""
        numbers = stateless_uniforms(video_ids, count, seed=self.seed, epoch=self.current_epoch, purpose=purpose)
        return numbers.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else numbers

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Add the scores of a batch of validation videos to the metrics."""
        count = batch.get("num_videos")
        self.validation_metrics.update(self.predict(batch).exp()[:count], batch["targets"][:count])
        self.validation_ids += batch["video_id"][:count]

    def on_validation_epoch_end(self) -> None:
        """Log ``val/top1, val/top5, val/mean_class, val/map``, unless scores are not finite, which is an error."""
        ids, self.validation_ids = self.validation_ids, []
        refuse_nonfinite_scores(self.validation_metrics.scores, ids, epoch=self.current_epoch)
        metrics = {f"val/{name}": value for name, value in self.validation_metrics.compute().items()}
        self.log_dict(metrics, logger=False)  # `EpochRows` gives them to the loggers
        self.validation_metrics.reset()
