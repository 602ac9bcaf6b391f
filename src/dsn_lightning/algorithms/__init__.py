"""Training of recognisers: the paper's Algorithm 1 (`DSN`) and the classifier alone (`Baseline`)."""

from dsn_lightning.algorithms.baseline import Baseline
from dsn_lightning.algorithms.dsn import DSN

__all__ = ["DSN", "Baseline"]
