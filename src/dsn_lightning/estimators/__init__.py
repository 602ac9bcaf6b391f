"""How the gradient of the expected reward (Eq. 7) is estimated: one file an estimator.

`Estimator` states their contract.
"""

from dsn_lightning.estimators.estimate import (
    Estimate,
    Estimator,
    RewardFunction,
    check_estimator,
    log_probability,
    sample_actions,
)
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.estimators.no_baseline import reinforce

__all__ = [
    "Estimate",
    "Estimator",
    "RewardFunction",
    "check_estimator",
    "log_probability",
    "reinforce",
    "reinforce_with_greedy_baseline",
    "sample_actions",
]
