"""Passes that keep no activations: the backward pass makes them again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def restoring_buffers(module: nn.Module) -> Iterator[None]:
    """Restore the buffers of ``module`` afterwards, such as its running batch statistics."""
    before = [buffer.clone() for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in zip(module.buffers(), before, strict=True):
            buffer.data.copy_(value)


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor, *, module: nn.Module) -> Tensor:
    """Return ``function(x)`` without its activations; the backward pass calls it a second time.

    Dropout is repeated, and batch statistics of ``module``, to which the function belongs, are counted once, so results
    and gradients are the same.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), restoring_buffers(module)

    output: Tensor = checkpoint(function, x, use_reentrant=False, context_fn=contexts)
    return output
