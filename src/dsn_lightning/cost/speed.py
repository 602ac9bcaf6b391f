"""Speed of a network on this machine, relative to the machine's speed for large matrix products."""

import math
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
"""Lightning's names of precisions -> type of the numbers that are multiplied."""

_SIDE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the largest matrices whose product is timed
_LONG_ENOUGH = 0.1  # seconds: matrices are large enough if their product takes longer than this


@dataclass(frozen=True)
class Speed:
    """Times of runs and of matrix products, measured in alternation."""

    seconds: np.ndarray  #: time of each run, (R,)
    macs: int  #: multiply-adds of a run
    clips: int  #: clips in a run
    #: multiply-adds per second of matrix products: before the first run, between the runs, after the last
    peaks: np.ndarray

    def summary(self) -> dict[str, float | list[float]]:
        """Return medians over the runs, and quartiles of the times and of the shares of peak.

        The share of peak compares each run with the matrix products just before and after it, since other work on the
        machine slows both.
        """
        shares = self.macs / self.seconds / ((self.peaks[:-1] + self.peaks[1:]) / 2)
        seconds = float(np.median(self.seconds))
        return {
            "seconds": seconds,
            "seconds_quartiles": np.quantile(self.seconds, (0.25, 0.75)).tolist(),
            "clips_per_second": self.clips / seconds,
            "gmacs_per_second": self.macs / seconds / 1e9,
            "peak_gmacs_per_second": float(np.median(self.peaks)) / 1e9,
            "share_of_peak": float(np.median(shares)),
            "share_of_peak_quartiles": np.quantile(shares, (0.25, 0.75)).tolist(),
        }


def measure(
    network: nn.Module,
    batch: torch.Tensor,
    *,
    macs: int,
    clips: int,
    precision: str = "32-true",
    repeats: int = 10,
    warm_up: int = 2,
) -> Speed:
    """Time ``repeats`` forward passes without gradients, as `dsn-evaluate` makes them; the network stays in eval mode.

    The passes of ``warm_up`` come before; they choose algorithms and allocate memory. ``macs`` and ``clips`` are those
    of a batch.
    """
    network.eval()
    kind = batch.device.type

    def run() -> None:
        mixed = precision == "bf16-mixed"
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16) if mixed else nullcontext():
            network(batch)

    seconds, peaks = [], []
    # On GPUs, matrix products get the precision of convolutions; by default only those use TF32.
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    try:
        for _ in range(warm_up):
            run()
        product, macs_of_product = _matrix_product(batch.device, PRECISIONS[precision])
        product()
        times = max(1, round(_seconds(run, kind) / _seconds(product, kind)))  # lasts about as long as a run

        def peak() -> float:
            return times * macs_of_product / _seconds(product, kind, times)

        peaks.append(peak())
        for _ in range(repeats):
            seconds.append(_seconds(run, kind))
            peaks.append(peak())
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    return Speed(np.array(seconds), macs, clips, np.array(peaks))


def _matrix_product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    side, largest = 256, _SIDE.get(device.type, 2048)
    while True:
        a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        product = partial(torch.mm, a, b, out=torch.empty(side, side, device=device, dtype=dtype))
        product()
        if side == largest or _seconds(product, device.type) > _LONG_ENOUGH:  # such as a dtype that the CPU emulates
            return product, side**3
        side *= 2


def _seconds(work: Callable[[], object], kind: str, times: int = 1) -> float:
    if kind == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_networks(
    networks: Mapping[str, tuple[nn.Module, float, tuple[int, ...]]],
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "32-true",
    repeats: int = 10,
) -> dict[str, Any]:
    """Time networks with random weights on this machine; ``auto`` takes a GPU if there is one.

    ``networks``: name -> network, multiply-adds of a clip, shape of its input: (B, ..., C, T, H, W). Returns
    ``device, threads, torch, precision, repeats`` and, under ``networks``, a `Speed.summary` for each.
    """
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    found = []
    for name, (network, macs, shape) in networks.items():
        torch.manual_seed(0)
        clips = math.prod(shape[:-4])
        network, batch = network.to(place), torch.rand(shape).to(place)
        speed = measure(network, batch, macs=round(macs * clips), clips=clips, precision=precision, repeats=repeats)
        found.append({"network": name, "clips_at_once": clips, **speed.summary()})
    device_name = torch.cuda.get_device_name(place) if place.type == "cuda" else cpu_name()
    about = {"device": device_name, "threads": torch.get_num_threads(), "torch": torch.__version__}
    return {**about, "precision": precision, "repeats": repeats, "networks": found}


def cpu_name() -> str:
    """Return the processor's name as reported by the operating system."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
