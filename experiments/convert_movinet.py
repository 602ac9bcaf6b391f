"""Converts a MoViNet-A0-Stream whose batch norms are folded into its convolutions for backbone=movinet_a0_stream.

    python experiments/convert_movinet.py FOLDED.safetensors OUTPUT.safetensors
    dsn-train backbone=movinet_a0_stream weights=OUTPUT.safetensors ...

Such networks come from TensorFlow Lite. The layers of FOLDED are stem, head and dense and, in each of blocks.0 to
blocks.14, expand, depth, time, skip, reduce, gate and project. Each has weight and bias. The output of project is
divided by blocks.I.alpha before it is added. This is inferred from the file for which the script was written: dividing
gives activations with standard deviations of 1 to 2 in all blocks on real videos, whereas multiplying makes them grow
to thousands. The classification layer is left out. The batch norms of OUTPUT only add the bias.
schedule.batch_norm=frozen, the default of schedule=finetune, keeps it that way.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from dsn_lightning.backbones import MoViNetA0
from dsn_lightning.backbones.weights import State, WeightsError, check_tensors, read_weights, tensors_of
from dsn_lightning.files import replaced

ENDS = {"stem": "conv1.conv_1", "head": "conv7.conv_1", "dense": "classifier.0.conv_1"}
OF_BLOCKS = {
    "expand": "expand.conv_1",
    "depth": "deep.conv_1",
    "time": "deep.conv_2",
    "skip": "res.1.conv_1",
    "reduce": "se.fc1.conv_1",
    "gate": "se.fc2.conv_1",
    "project": "project.conv_1",
}
"""Layer in a folded file -> layer of the network."""
CLASSES = "classes."


def converted(folded: Mapping[str, Tensor]) -> State:
    """Return the weights of a folded network in the layout of `MoViNetA0` without a classification layer.

    Raises:
        WeightsError: names or shapes are not those of such a network, or a tensor has other than finite numbers.
    """
    network = MoViNetA0(0, causal=True)
    state = network.state_dict()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_var").fill_(1 - module.eps)  # the scale is 1 / sqrt(running_var + eps)
    names = dict(_names(network))
    given = {name: value for name, value in folded.items() if not name.startswith(CLASSES)}
    check_tensors(given)
    if given.keys() != names.keys():
        missing, unexpected = sorted(names.keys() - given.keys()), sorted(given.keys() - names.keys())
        raise WeightsError(f"missing keys: {missing[:3]}; unexpected keys: {unexpected[:3]}")
    for name, value in given.items():
        target = state[names[name]]
        if not value.is_floating_point():
            raise WeightsError(f"{name}: expected floating-point numbers, got {value.dtype}")
        if value.numel() != target.numel() or value.shape[:1] != (target.shape or (1,))[:1]:
            raise WeightsError(f"{name}: expected the shape of {tuple(target.shape)}, got {tuple(value.shape)}")
        value = 1 / value if name.endswith(".alpha") else value
        if not value.isfinite().all():
            raise WeightsError(f"{name}: expected finite numbers")
        state[names[name]] = value.reshape(target.shape).contiguous()
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _names(network: MoViNetA0) -> Iterator[tuple[str, str]]:
    """Return pairs of names of tensors: in a folded file, and of the network."""
    state, layers = network.state_dict(), dict(ENDS)
    for i, (block, _) in enumerate(network.blocks.named_children()):
        layers |= {f"blocks.{i}.{folded}": f"blocks.{block}.{name}" for folded, name in OF_BLOCKS.items()}
        yield f"blocks.{i}.alpha", f"blocks.{block}.alpha"
    for folded, name in layers.items():
        if f"{name}.conv2d.weight" in state:  # not every block has all layers
            yield f"{folded}.weight", f"{name}.conv2d.weight"
            norm = f"{name}.norm.bias"
            yield f"{folded}.bias", norm if norm in state else f"{name}.conv2d.bias"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folded", type=Path, help="file of the folded network")
    parser.add_argument("output", type=Path, help="file for weights=, *.safetensors")
    arguments = parser.parse_args()
    try:
        state = converted(tensors_of(read_weights(arguments.folded)))
        with replaced(arguments.output) as partial:
            save_file(state, partial)
    except WeightsError as error:
        parser.error(f"{arguments.folded}: {error}")
    except (OSError, SafetensorError) as error:
        parser.error(f"{arguments.output}: cannot be written ({error})")
    print(f"{sum(value.numel() for value in state.values()):,} numbers in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
