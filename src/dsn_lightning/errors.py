"""The one error that users cause, which commands print as one line with exit code 2, and how file names are shown."""

import os
import re

_NO_FILE_NAME = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as UTF-8 text; bytes of its name that are not UTF-8 become escapes, and so do lone surrogates.

    >>> printable("caf\\udce9.mp4") == r"caf\\xe9.mp4", printable("café.mp4")
    (True, 'café.mp4')
    >>> printable(chr(0xD800)) == r"\\ud800"
    True
    """
    text = _NO_FILE_NAME.sub(lambda found: f"\\u{ord(found[0]):04x}", os.fsdecode(path))
    return os.fsencode(text).decode("utf-8", "backslashreplace")


class UsageError(ValueError):
    """An argument, a file or a combination of options is wrong; the message names it, its value and the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
