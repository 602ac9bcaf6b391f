"""The x axes of W&B's charts: epochs for what is logged once an epoch, batches for tests."""

from collections.abc import Iterable
from typing import Any

from dsn_lightning.evaluation.details import prefix_of

EPOCH = "epoch"
"""Axis of what is logged once an epoch."""
STEP = "trainer/global_step"
"""Axis of tests: the number of batches seen in training. Every row has it."""

_ONCE_AN_EPOCH = ("train", "val", "time", "gradients", "parameters")
_BEST = "_best"  # end of the names of best values so far


class ChartAxes:
    """Tells a W&B run over which axis it draws what is logged; it draws other callbacks' figures over its row numbers.

    The best values so far are in W&B's tables of runs, and have no charts of their own. (W&B's own ``summary="max"``
    begins anew when a run is resumed.)

    Args:
        run: a run that has begun, or has been resumed.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        self.hidden: set[str] = set()
        for axis in (EPOCH, STEP):
            run.define_metric(axis)
        for group in _ONCE_AN_EPOCH:  # no two patterns match one name: W&B would take either of them
            run.define_metric(f"{group}/*", step_metric=EPOCH)
        for group in (prefix_of("test"), prefix_of("val")):
            run.define_metric(f"{group}/*", step_metric=STEP)

    def hide_best(self, names: Iterable[str]) -> None:
        """Draw no chart of the best values so far among the names."""
        for name in names:
            if name.endswith(_BEST) and name not in self.hidden:
                self.hidden.add(name)
                self.run.define_metric(name, step_metric=EPOCH, hidden=True)
