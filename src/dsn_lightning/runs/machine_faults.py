"""Faults of the machine that end a command: which errors they are, and one line that says what to do.

A full disk, too few file descriptors or a killed loader process is nobody's bug: a command prints such a line and exits
with code 2, as after a usage error, and ``status.json`` has the same text. Every other exception keeps its traceback.
"""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from dsn_lightning.errors import UsageError

_REMEDIES = {
    errno.ENOSPC: "free some space, then go on",
    errno.EDQUOT: "free some space of your quota, then go on",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f), then go on",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder with the permission that it needs",
    errno.EPERM: "choose a folder with the permission that it needs",
    errno.EIO: "check the disk, then go on",
    errno.ESTALE: "check the network file system, then go on",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or lower num_workers",
    errno.ENFILE: "lower num_workers; the whole system has too many open files",
    errno.ENOMEM: "use a machine with more memory, or lower num_workers or schedule.batch_size",
    errno.EAGAIN: "raise the limit on processes (ulimit -u), or lower num_workers",
    errno.ENAMETOOLONG: "shorten the path",
}
_SHARED_MEMORY = "enlarge /dev/shm (docker run --shm-size=8g), lower num_workers, or set num_workers=0"
_NO_MEMORY = "lower schedule.batch_size, num_workers or the number of clips, or use a larger machine"
_MESSAGES = {
    r"[Bb]us error|allocate shared memory|unable to write to file|insufficient shared memory": (
        f"the shared memory for data loader processes is full; {_SHARED_MEMORY}"
    ),
    r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)": (
        "a data loader process has died (pid {}); the system may have run out of memory: lower num_workers, then go on"
    ),
    r"Too many open files": f"too many open files; {_REMEDIES[errno.EMFILE]}",
    r"PytorchStreamWriter failed|unexpected pos \d+": (
        "a checkpoint could not be written; the disk is full or cannot be written to: free some space, then go on"
    ),
    r"(?:DefaultCPUAllocator|out of memory).*ried to allocate ([\d.]+ \w+)": (
        f"out of memory (tried to allocate {{}}); {_NO_MEMORY}"
    ),
    r"CUDA out of memory|std::bad_alloc": f"out of memory; {_NO_MEMORY}",
    r"can't start new thread|Resource temporarily unavailable": (
        f"no more processes or threads can be started; {_REMEDIES[errno.EAGAIN]}"
    ),
}
"""Messages of PyTorch's errors, which have no error number: what stands in them -> the line."""


def fault_of(error: BaseException) -> UsageError | None:
    """Return the fault of the machine that an exception or one of its causes reports, in one line; None: it is none.

    >>> print(fault_of(OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt")))
    run/last.ckpt: No space left on device; free some space, then go on
    >>> fault_of(KeyError("M"))
    """
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _REMEDIES:
            path = Path(str(cause.filename or ""))
            shown = path.parent if path.name.startswith(".") else path  # a temporary file says nothing to users
            where = f"{shown}: " if cause.filename else ""
            return UsageError(f"{where}{cause.strerror}; {_REMEDIES[cause.errno]}")
        if isinstance(cause, OSError) and (found := re.search(r"\[Errno (\d+)\] ([^\n]+)", str(cause))):
            number = int(found[1])  # of an error in a data loader process, which PyTorch has made a text of
            if number in _REMEDIES:
                return UsageError(f"{found[2]}; {_REMEDIES[number]}")
        if isinstance(cause, MemoryError):
            return UsageError(f"out of memory; {_NO_MEMORY}")
        if isinstance(cause, RuntimeError):
            for pattern, line in _MESSAGES.items():
                if found := re.search(pattern, str(cause)):
                    return UsageError(line.format(*found.groups()))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and what it was raised from, the first cause last."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
