"""How the gradient of the expected reward (Eq. 7) is estimated: one file an estimator.

`Estimator` states their contract.
"""

from dsn_lightning.estimators.distill import Distill
from dsn_lightning.estimators.estimate import (
    Estimate,
    Estimator,
    RewardFunction,
    check_estimator,
    log_probability,
    sample_actions,
)
from dsn_lightning.estimators.exact import exact
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.estimators.gumbel import Gumbel
from dsn_lightning.estimators.leave_one_out import LeaveOneOut
from dsn_lightning.estimators.moving_average import MovingAverage
from dsn_lightning.estimators.no_baseline import reinforce
from dsn_lightning.estimators.ppo import PPO

__all__ = [
    "PPO",
    "Distill",
    "Estimate",
    "Estimator",
    "Gumbel",
    "LeaveOneOut",
    "MovingAverage",
    "RewardFunction",
    "check_estimator",
    "exact",
    "log_probability",
    "reinforce",
    "reinforce_with_greedy_baseline",
    "sample_actions",
]
