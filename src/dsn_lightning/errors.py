"""The one error that users cause, which commands print as one line with exit code 2, and how file names are shown."""

import os


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as UTF-8 text; bytes of its name that are not UTF-8 become escapes.

    >>> printable("caf\\udce9.mp4") == r"caf\\xe9.mp4", printable("café.mp4")
    (True, 'café.mp4')
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class UsageError(ValueError):
    """An argument, a file or a combination of options is wrong; the message names it, its value and the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
