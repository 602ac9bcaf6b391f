"""What the sampler is rewarded for: one file a reward. Eq. 6 is `CorrectClass`.

`Reward` states their contract.
"""

from dsn_lightning.rewards.correct_class import CorrectClass, clip_reward
from dsn_lightning.rewards.reward import Reward, check_reward

__all__ = ["CorrectClass", "Reward", "check_reward", "clip_reward"]
