"""Losses and gradients that are not finite: the batch that they come from, and whether its step is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError

OnNonfinite = Literal["stop", "skip"]

_MAX_OVERFLOWS = 32
"""Overflows in a row that fp16 training may have: as many halvings of the loss scale leave nothing to overflow."""
_MAX_NAMED = 32
"""Videos that a message names."""
_RATES = {"classifier": "schedule.lr", "sampler": "schedule.sampler_lr"}


@dataclass(frozen=True)
class _Batch:
    epoch: int
    index: int  # in the epoch
    video_ids: Sequence[str]  # this process's


@dataclass(frozen=True)
class _Step:
    name: str  # of the optimiser
    batches: Sequence[_Batch]
    nonfinite: Tensor  # bool (2,): the loss of a batch, the gradient; equal in all processes; on its way to the host
    arrived: torch.cuda.Event | None  # None where there is nothing to wait for

    @classmethod
    def of(cls, name: str, batches: Sequence[_Batch], flags: Tensor) -> "_Step":
        """Return a step whose flags are being copied to the host; nobody waits for that yet."""
        on_host = flags.to("cpu", non_blocking=True)
        return cls(name, batches, on_host, torch.cuda.current_stream().record_event() if flags.is_cuda else None)

    def flags(self) -> tuple[bool, bool]:
        """Return whether the loss, and the gradient, is not finite; waits for the step's end, for no later work."""
        if self.arrived is not None:
            self.arrived.synchronize()
        loss, gradient = self.nonfinite.tolist()
        return loss, gradient


class FiniteSteps:
    """Watches the steps of the optimisers ``classifier`` and ``sampler``.

    Args:
        on_nonfinite: ``stop`` ends the training with the first loss or gradient that is not finite; ``skip`` leaves the
            step out, restores the running statistics and counts it.

    With ``stop``, the flags of a step are read when the step after the next begins, and before a checkpoint is written:
    no step waits for the device, which always has one to do. ``skip`` reads two flags a step.
    """

    def __init__(self, on_nonfinite: OnNonfinite) -> None:
        self.skips = on_nonfinite == "skip"
        self.skipped = dict.fromkeys(_RATES, 0)  # steps left out so far, over all epochs
        self._batches: list[_Batch] = []  # of the current step
        self._buffers: dict[str, list[Tensor]] = {}  # as they were before the current step
        self._num_nonfinite: dict[str, Tensor] = {}  # losses of the current step, in this process
        self._overflows: dict[str, Tensor] = {}  # in a row
        self._before: list[_Step] = []  # of the step before the last, not yet checked
        self._steps: list[_Step] = []  # of the last step

    def begin_step(self, networks: Mapping[str, nn.Module]) -> None:
        """Begin a step, which updates the optimisers' networks; what the one before the last has found is read."""
        _refuse(self._before)
        self._before, self._steps = self._steps, []
        self._batches, self._num_nonfinite = [], {}
        if self.skips:
            self._buffers = {name: [b.clone() for b in network.buffers()] for name, network in networks.items()}

    def add_batch(self, epoch: int, index: int, video_ids: Sequence[str]) -> None:
        """Add a batch to the current step."""
        self._batches.append(_Batch(epoch, index, tuple(video_ids)))

    def add_loss(self, name: str, loss: Tensor) -> Tensor:
        """Add the loss of a batch, and return whether it is finite, as a tensor."""
        finite = torch.isfinite(loss.detach())
        self._num_nonfinite[name] = self._num_nonfinite.get(name, 0) + (~finite).float()
        return finite

    def num_nonfinite(self, name: str) -> Tensor:
        """Return how many losses of the current step are not finite in this process."""
        return self._num_nonfinite[name]

    def end_step(self, name: str, network: nn.Module, *, num_nonfinite: Tensor, norm: Tensor, scaled: bool) -> None:
        """End the step of an optimiser, or leave it out by removing the gradients.

        Args:
            name: the optimiser.
            network: what it updates.
            num_nonfinite: of all processes.
            norm: 2-norm of the gradient, equal in all processes.
            scaled: whether an fp16 loss scaler leaves out the steps whose gradients overflow.
        """
        overflow = ~torch.isfinite(norm)
        if scaled:
            self._overflows[name] = (self._overflows.get(name, 0) + overflow.float()) * overflow
            overflow = self._overflows[name] > _MAX_OVERFLOWS
        step = _Step.of(name, self._batches, torch.stack([num_nonfinite > 0, overflow]))
        del self._num_nonfinite[name]  # an estimator may make further steps on the same batch
        if not self.skips:
            self._steps.append(step)
        elif not any(step.flags()):
            self._buffers[name] = [b.clone() for b in network.buffers()]
        else:
            self.skipped[name] += 1
            for parameter in network.parameters():
                parameter.grad = None  # an optimiser leaves such parameters, and its state, unchanged
            for buffer, value in zip(network.buffers(), self._buffers[name], strict=True):
                buffer.data.copy_(value)

    def check(self) -> None:
        """Read what all steps so far have found; all processes have to call this at the same point.

        Raises:
            UsageError: a loss or gradient is not finite; names the epoch, the batch and its videos.
        """
        steps, self._before, self._steps = [*self._before, *self._steps], [], []
        _refuse(steps)


def _refuse(steps: Sequence[_Step]) -> None:
    for step in steps:
        loss, gradient = step.flags()
        if loss or gradient:
            raise UsageError(_message(step, "loss" if loss else "gradient"))


def refuse_nonfinite_scores(scores: Sequence[Tensor], video_ids: Sequence[str], *, epoch: int) -> None:
    """Check class scores of validation videos; all processes have to call this at the same point.

    Args:
        scores: of each batch of this process, (B, J).
        video_ids: of all batches of this process.
        epoch: for the message.

    Raises:
        UsageError: some scores are not finite; names the epoch and the videos of all processes.
    """
    finite = torch.cat([part.isfinite().all(1) for part in scores]).tolist() if scores else []
    bad = _of_all([video_id for video_id, good in zip(video_ids, finite, strict=True) if not good])
    if bad:
        raise UsageError(
            f"epoch {epoch}, validation: the scores of {len(bad)} videos are not finite ({_named(bad)}); {_remedy()}"
        )


def _message(step: _Step, value: str) -> str:
    first, last = step.batches[0], step.batches[-1]
    batches = f"batch {first.index}" if first is last else f"batches {first.index} to {last.index}"
    videos = _of_all([video_id for batch in step.batches for video_id in batch.video_ids])
    return (
        f"epoch {first.epoch}, {batches}: the {step.name}'s {value} is not finite (videos: {_named(videos)}); "
        f"{_remedy(_RATES[step.name])}, or leave out such steps with schedule.on_nonfinite=skip"
    )


def _remedy(rate: str = "schedule.lr") -> str:
    return f"lower {rate} or schedule.gradient_clip"


def _named(video_ids: Sequence[str]) -> str:
    names = list(dict.fromkeys(video_ids))
    return ", ".join(names[:_MAX_NAMED]) + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")


def _of_all(video_ids: list[str]) -> list[str]:
    """Return the videos of all processes, in the order of the processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return video_ids
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, video_ids)
    return [video_id for part in parts for video_id in part]
