"""REINFORCE with several actions a section, each with the mean reward of the others as its baseline."""

from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


class LeaveOneOut:
    """Estimates grad J from K actions a section: the mean of (R(A_k) - mean of the other R(A_j)) grad log pi(A_k).

    Unbiased, since the actions are drawn independently of each other. See Kool, van Hoof and Welling, *Buy 4 REINFORCE
    Samples, Get a Baseline for Free!* (2019), and `Estimator`.

    Args:
        draws: K, at least 2.
    """

    def __init__(self, *, draws: int = 2) -> None:
        if type(draws) is not int or draws < 2:
            raise UsageError(f"estimator.draws={draws}: must be a whole number of at least 2")
        self.num_draws = draws

    def __call__(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return the estimate, with the first of the actions."""
        actions = sample_actions(log_policy, uniforms)  # (K, B, M)
        rewards = reward(actions)
        baselines = (rewards.sum(0) - rewards) / (self.num_draws - 1)
        loss = -((rewards - baselines).detach() * log_probability(log_policy, actions)).mean()
        return Estimate(loss, actions[0], rewards[0], baselines[0])
