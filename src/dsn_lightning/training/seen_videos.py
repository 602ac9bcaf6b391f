"""Which videos a network was trained on, or began from: kept in checkpoints, asked where videos are held out."""

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dsn_lightning.errors import UsageError

KEY = "trained_on"
"""Where a checkpoint's record holds it."""


def hashes_of(video_ids: Iterable[str]) -> Tensor:
    """Return what videos are known by: int64, sorted, each once.

    >>> hashes_of(["b", "a", "a"]).shape
    torch.Size([2])
    """
    return torch.tensor(sorted({_hash(video_id) for video_id in video_ids}), dtype=torch.int64)


def is_hashes(content: object) -> bool:
    """Return whether the content of a file has the form that `hashes_of` gives: a plain vector of int64.

    >>> is_hashes(hashes_of("ab")), is_hashes("ab"), is_hashes(torch.zeros(2, 2))
    (True, False, False)
    """
    if not isinstance(content, Tensor) or content.layout != torch.strided or content.is_meta:
        return False
    return content.dtype == torch.int64 and content.dim() == 1


def joined(parts: Iterable[Tensor | None]) -> Tensor | None:
    """Return the videos of all parts; None where it is not known of one of them.

    >>> joined([hashes_of("ab"), hashes_of("bc")]).equal(hashes_of("abc")), joined([hashes_of("a"), None])
    (True, None)
    """
    parts = list(parts)
    known = [part for part in parts if part is not None]
    return torch.cat(known).unique() if len(known) == len(parts) else None


def among(trained_on: Tensor | None, video_ids: Iterable[str]) -> list[str]:
    """Return those of the videos that were trained on; none where that is not known.

    >>> among(hashes_of("ab"), ["b", "c"]), among(None, ["b"])
    (['b'], [])
    """
    known = set() if trained_on is None else {*trained_on.tolist()}
    return [video_id for video_id in video_ids if _hash(video_id) in known]


def check_held_out(trained_on: Tensor | None, video_ids: Sequence[str], *, where: str) -> None:
    """Raise `UsageError` if ``where``, for messages, was trained on some of the held-out videos, or it is not known."""
    if trained_on is None:
        raise UsageError(
            f"{where}: does not say which videos it was trained on (it, or what it began from, is of an earlier "
            "version); test.subset=val wants runs that do"
        )
    if found := among(trained_on, video_ids):
        raise UsageError(
            f"{where}: was trained on {len(found)} of the {len(video_ids)} held-out videos, or began from what was "
            f"({found[0]}{', ...' if len(found) > 1 else ''}); test.subset=val wants runs that hold them out"
        )


def _hash(video_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), "big", signed=True)
