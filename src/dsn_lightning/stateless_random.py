"""Random numbers addressed by what they are for, not by when they are drawn.

A generator made from ``(seed, epoch, video, section, purpose)`` gives the same numbers whatever the number of
loader workers, processes or restarts.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def stateless_rng(*key: int | str) -> np.random.Generator:
    """Return a generator that depends on ``key`` alone.

    >>> a, b = stateless_rng(0, 3, "video_7", "jitter"), stateless_rng(0, 3, "video_7", "jitter")
    >>> bool(a.random() == b.random())
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def stateless_seed(*key: int | str) -> int:
    """Return a seed for `torch.manual_seed` that depends on ``key`` alone.

    >>> stateless_seed(0, "dropout") == stateless_seed(0, "dropout") != stateless_seed(1, "dropout")
    True
    """
    return int(stateless_rng(*key).integers(2**63))


def stateless_uniforms(video_ids: Sequence[str], num_sections: int, *, seed: int, epoch: int, purpose: str) -> "Tensor":
    """Return one number in [0, 1) for each section of each video, float64 (B, M).

    Section m's number does not depend on ``num_sections``, so a sweep over M shares its draws.
    """
    import torch  # here, so that commands which only look at videos start quickly

    rows = [stateless_rng(seed, epoch, video, purpose).random(num_sections) for video in video_ids]
    return torch.from_numpy(np.stack(rows))
