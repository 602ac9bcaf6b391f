"""Fine-tuning: frozen batch norm, and parameter groups with a separate learning rate or weight decay."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class FineTuning:
    """What `dsn_lightning.algorithms.recognizer.Recognizer` freezes, and how it forms parameter groups.

    Args:
        batch_norm: ``trained`` or ``frozen``. Frozen batch-norm layers of both networks keep their running statistics,
            scales and shifts, and use them in training as in testing. Other norms (layer, group) are not affected.
        decay_norm_and_bias: False exempts the parameters of norm layers and all biases from weight decay.
        head_lr: learning rate of the classifier's ``head``; None: that of its other layers.
        sampler_head_lr: learning rate of the observation network's ``head``, likewise.

    Raises:
        UsageError: ``batch_norm`` or ``decay_norm_and_bias`` has another value.
    """

    batch_norm: Literal["trained", "frozen"] = "trained"
    decay_norm_and_bias: bool = True
    head_lr: float | None = None
    sampler_head_lr: float | None = None

    def __post_init__(self) -> None:
        if self.batch_norm not in ("trained", "frozen"):
            raise UsageError(f"batch_norm={self.batch_norm}: must be trained or frozen")
        if not isinstance(self.decay_norm_and_bias, bool):
            raise UsageError(f"decay_norm_and_bias={self.decay_norm_and_bias}: must be true or false")

    def freeze(self, module: nn.Module) -> None:
        """Exclude the parameters of frozen batch-norm layers from training."""
        for norm in self._frozen_norms(module):
            norm.requires_grad_(False)

    def keep_frozen(self, module: nn.Module) -> None:
        """Put frozen batch-norm layers back into eval mode, after ``module.train()``."""
        for norm in self._frozen_norms(module):
            norm.eval()

    def _frozen_norms(self, module: nn.Module) -> list[nn.Module]:
        return [part for part in module.modules() if isinstance(part, _BatchNorm) and self.batch_norm == "frozen"]

    def head_lr_of(self, name: str) -> float | None:
        """Return the separate learning rate of the head of ``classifier`` or ``sampler``, None without one."""
        return self.sampler_head_lr if name == "sampler" else self.head_lr

    def groups(self, network: ClipNetwork | ObservationNetwork, *, name: str) -> list[dict[str, Any]]:
        """Return parameter groups for a `torch.optim` optimiser: all parameters that require a gradient.

        There must be one. Groups of a head with a separate learning rate contain ``"head": True``. ``name`` is
        ``classifier`` or ``sampler``.
        """
        head_lr = self.head_lr_of(name)
        head = set() if head_lr is None else {id(p) for p in network.get_submodule(network.head).parameters()}
        undecayed = set() if self.decay_norm_and_bias else _norms_and_biases(network)
        groups: dict[tuple[bool, bool], dict[str, Any]] = {}
        for parameter in network.parameters():
            if not parameter.requires_grad:
                continue
            in_head, without_decay = id(parameter) in head, id(parameter) in undecayed
            options: dict[str, Any] = {"lr": head_lr, "head": True} if in_head else {}
            options |= {"weight_decay": 0.0} if without_decay else {}
            groups.setdefault((in_head, without_decay), {"params": [], **options})["params"].append(parameter)
        if not groups:
            remedy = "leave it out with algorithm=baseline" if name == "sampler" else "keep it with algorithm=dsn_fixed"
            reason = f"the {name} ({type(network).__name__}) has nothing to train: all of its parameters are frozen"
            raise UsageError(f"{reason}; unfreeze some of them, or {remedy}")
        return [groups[kind] for kind in sorted(groups)]


def _norms_and_biases(network: nn.Module) -> set[int]:
    return {
        id(parameter)
        for part in network.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if isinstance(part, _NORMS) or "bias" in name
    }
