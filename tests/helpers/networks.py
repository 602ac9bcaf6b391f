"""Networks with batch statistics, weights that are the same everywhere, and the layouts of public weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def with_statistics(module: nn.Module) -> nn.Module:
    """Draw batch statistics, so a test notices if they are lost; return the module in eval mode."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return module.eval()


def drawn_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Draw weights that depend on names and shapes alone, and keep the size of activations; norms have statistics."""
    rng = np.random.default_rng(0)
    state = {}
    for name in sorted(shapes):
        shape = tuple(shapes[name])
        values = torch.from_numpy(rng.random(shape or (1,)).reshape(shape)).float()  # in [0, 1)
        if len(shape) > 1:
            values = (values - 0.5) * (24 / values[0].numel()) ** 0.5
        elif name.endswith(("running_var", "weight", "alpha")):
            values += 0.5
        else:
            values = (values - 0.5) / 4
        state[name] = values
    return state


def public_layout(file: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes in a file of public weights; counters of batches are left out.

    ``tests/backbones/public_weights`` has a line for each tensor, and one for the four of a batch norm.
    """
    layout = {}
    for line in (Path(__file__).parents[1] / "backbones" / "public_weights" / f"{file}.txt").read_text().splitlines():
        name, _, text = line.partition(" ")
        if text.startswith("batch norm of "):
            width = (int(text.rpartition(" ")[2]),)
            layout |= {f"{name}.{part}": width for part in ("weight", "bias", "running_mean", "running_var")}
        else:
            layout[name] = tuple(int(length) for length in text.split("x") if text != "scalar")
    return layout
