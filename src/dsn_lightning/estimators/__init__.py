"""How the gradient of the expected reward (Eq. 7) is estimated: one file an estimator.

An estimator is a callable ``(log_policy, *, uniforms, reward) -> Estimate``.
"""

from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions
from dsn_lightning.estimators.greedy_baseline import reinforce_with_greedy_baseline
from dsn_lightning.estimators.no_baseline import reinforce

__all__ = [
    "Estimate",
    "RewardFunction",
    "log_probability",
    "reinforce",
    "reinforce_with_greedy_baseline",
    "sample_actions",
]
