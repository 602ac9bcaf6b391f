"""What a network costs: multiply-adds, counted on meta tensors, without weights or memory."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(network: nn.Module, *input_shape: int) -> int:
    """Return the multiply-adds of one forward pass, what the paper calls FLOPs.

    Args:
        network: any module of one tensor; it is left as it is.
        *input_shape: of that tensor, batch included.

    >>> count_macs(nn.Linear(3, 2), 1, 3)
    6
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(*input_shape, device="meta"))
    return counter.get_total_flops() // 2
