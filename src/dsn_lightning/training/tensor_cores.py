"""The rounding of float32 products on NVIDIA GPUs: TF32 uses their tensor cores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def using_tf32(enabled: bool, *, device: torch.device) -> Iterator[None]:
    """Let float32 convolutions and matrix products on a GPU round their inputs to TF32 (10 bits), or not at all.

    PyTorch by itself does so for convolutions only. Other devices and types are not affected.
    """
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn) if device.type == "cuda" else ()
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = enabled
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
