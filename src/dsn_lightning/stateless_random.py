"""Random numbers that depend on a key such as (seed, epoch, video, purpose), not on the order of drawing them."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


CLASSIFIER_ACTION = "action/classifier"
"""Purpose of the numbers that decide which clips the classifier is trained on (Algorithm 1, line 6)."""


def stateless_rng(*key: int | str) -> np.random.Generator:
    """Return a generator that depends only on ``key``.

    >>> a, b = stateless_rng(0, 3, "video_7", "jitter"), stateless_rng(0, 3, "video_7", "jitter")
    >>> bool(a.random() == b.random())
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def stateless_seed(*key: int | str) -> int:
    """Return a seed for `torch.manual_seed` that depends only on ``key``.

    >>> stateless_seed(0, "dropout") == stateless_seed(0, "dropout") != stateless_seed(1, "dropout")
    True
    """
    return int(stateless_rng(*key).integers(2**63))


def stateless_uniforms(video_ids: Sequence[str], num_sections: int, *, seed: int, epoch: int, purpose: str) -> "Tensor":
    """Return one number in [0, 1) for each section of each video, float64 (B, M).

    The number of section m does not depend on ``num_sections``, so the jobs of a sweep over M share their draws.
    """
    import torch  # here, so commands that only read videos start quickly

    rows = [stateless_rng(seed, epoch, video, purpose).random(num_sections) for video in video_ids]
    return torch.from_numpy(np.stack(rows))
