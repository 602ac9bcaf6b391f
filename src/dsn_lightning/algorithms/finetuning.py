"""How networks that come with weights are trained on: what stays frozen, which parameters get which rate and decay."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from dsn_lightning.errors import UsageError

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class FineTuning:
    """What `dsn_lightning.algorithms.recognizer.Recognizer` freezes, and how an optimiser's parameter groups are made.

    Args:
        batch_norm: ``trained``, or ``frozen``: in training as in testing, the batch-norm layers of both networks
            normalise with the running statistics that they came with, which stay untouched, and their scales and
            shifts are not trained either. So a layer remains one fixed affine map for each channel. Other norms
            (layer, group) are not concerned.
        decay_norm_and_bias: False leaves the parameters of norm layers and all biases without weight decay.
        head_lr: learning rate of the classifier's last layer, its attribute ``fc``; None: that of the rest.
        sampler_head_lr: the same of the observation network's ``fc``.

    Raises:
        UsageError: ``batch_norm`` or ``decay_norm_and_bias`` is something else.
    """

    batch_norm: Literal["trained", "frozen"] = "trained"
    decay_norm_and_bias: bool = True
    head_lr: float | None = None
    sampler_head_lr: float | None = None

    def __post_init__(self) -> None:
        if self.batch_norm not in ("trained", "frozen"):
            raise UsageError(f"schedule.batch_norm={self.batch_norm}: must be trained or frozen")
        if not isinstance(self.decay_norm_and_bias, bool):
            raise UsageError(f"schedule.decay_norm_and_bias={self.decay_norm_and_bias}: must be true or false")

    def freeze(self, module: nn.Module) -> None:
        """Take the batch-norm layers' parameters out of the training, if they are to be frozen."""
        for norm in self._frozen_norms(module):
            norm.requires_grad_(False)

    def keep_frozen(self, module: nn.Module) -> None:
        """Put frozen batch-norm layers back into eval mode, after ``module.train()``."""
        for norm in self._frozen_norms(module):
            norm.eval()

    def _frozen_norms(self, module: nn.Module) -> list[nn.Module]:
        return [part for part in module.modules() if isinstance(part, _BatchNorm) and self.batch_norm == "frozen"]

    def head_lr_of(self, name: str) -> float | None:
        """Return the head's own learning rate, if it has one, of ``classifier`` or ``sampler``."""
        return self.sampler_head_lr if name == "sampler" else self.head_lr

    def groups(self, network: nn.Module, *, name: str) -> list[dict[str, Any]]:
        """Return the parameter groups of an optimiser, as `torch.optim` takes them: those that require a gradient.

        A group of the head's parameters is marked with ``"head": True`` where the head has a learning rate of its own.

        Args:
            network: whose parameters are to be trained.
            name: ``classifier`` or ``sampler``.

        Raises:
            UsageError: there is nothing to train, or no head.
        """
        head_lr = self.head_lr_of(name)
        head = set() if head_lr is None else _ids(_head(network, name=name, lr=head_lr))
        undecayed = set() if self.decay_norm_and_bias else _norms_and_biases(network)
        groups: dict[tuple[bool, bool], dict[str, Any]] = {}
        for parameter in network.parameters():
            if not parameter.requires_grad:
                continue
            in_head, without_decay = id(parameter) in head, id(parameter) in undecayed
            own: dict[str, Any] = {"lr": head_lr, "head": True} if in_head else {}
            own |= {"weight_decay": 0.0} if without_decay else {}
            groups.setdefault((in_head, without_decay), {"params": [], **own})["params"].append(parameter)
        if not groups:
            remedy = "leave it out with algorithm=baseline" if name == "sampler" else "keep it with algorithm=dsn_fixed"
            raise UsageError(
                f"the {name} ({type(network).__name__}) has nothing to train: all of its parameters are frozen; "
                f"unfreeze a part of it, or {remedy}"
            )
        return [groups[kind] for kind in sorted(groups)]


def _head(network: nn.Module, *, name: str, lr: float) -> nn.Module:
    head = getattr(network, "fc", None)
    if not isinstance(head, nn.Module):
        key = "sampler_head_lr" if name == "sampler" else "head_lr"
        raise UsageError(
            f"schedule.{key}={lr}: the {name} ({type(network).__name__}) has no last layer `fc` that could have a "
            f"learning rate of its own; use schedule.{key}=null"
        )
    return head


def _ids(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}


def _norms_and_biases(network: nn.Module) -> set[int]:
    return {
        id(parameter)
        for part in network.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if isinstance(part, _NORMS) or "bias" in name
    }
