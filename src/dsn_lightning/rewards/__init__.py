"""What the sampler is rewarded for: one file a reward. Eq. 6 is `CorrectClass`.

`Reward` states their contract.
"""

from dsn_lightning.rewards.consensus_gain import ConsensusGain
from dsn_lightning.rewards.correct_class import CorrectClass, clip_reward
from dsn_lightning.rewards.reward import Reward, check_reward
from dsn_lightning.rewards.section_gain import SectionGain
from dsn_lightning.rewards.true_class import TrueClass

__all__ = ["ConsensusGain", "CorrectClass", "Reward", "SectionGain", "TrueClass", "check_reward", "clip_reward"]
