"""Times of networks, and their share of the machine's peak."""

import numpy as np
import pytest
import torch
from torch import nn

from dsn_lightning.cost.speed import Speed, measure


def test_share_of_peak_by_hand():
    """Runs at 2 and 4 GMAC/s between products at 8, 8 and 4: shares of 2/8 and 4/6."""
    speed = Speed(np.array([2.0, 1.0]), macs=4 * 10**9, clips=3, peaks=np.array([8e9, 8e9, 4e9]))
    found = speed.summary()
    assert found["seconds"] == 1.5
    assert found["clips_per_second"] == 2
    assert found["gmacs_per_second"] == pytest.approx(4 / 1.5)
    assert found["peak_gmacs_per_second"] == 8
    assert found["share_of_peak"] == pytest.approx((2 / 8 + 4 / 6) / 2)


class Recorder(nn.Module):
    """Records how it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.seen: list[tuple[torch.dtype, bool, bool]] = []

    def forward(self, x):
        out = self.layer(x)
        self.seen.append((out.dtype, self.training, torch.is_inference_mode_enabled()))
        return out


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_timed_runs_are_those_of_an_evaluation(precision, dtype):
    network = Recorder()
    before = torch.backends.cuda.matmul.fp32_precision
    speed = measure(network, torch.rand(8, 64), macs=8 * 64 * 64, clips=8, precision=precision, repeats=3, warm_up=1)
    assert len(speed.seconds) == 3
    assert len(speed.peaks) == 4
    assert min(speed.seconds) > 0
    assert len(network.seen) >= 4
    assert set(network.seen) == {(dtype, False, True)}
    assert torch.backends.cuda.matmul.fp32_precision == before
