"""The one error that users cause, which commands print as one line with exit code 2, and how texts are shown."""

import os
import re

_NO_FILE_NAME = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte
# control characters, which a terminal obeys, those that reorder a line, and two that are no XML
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path or another text from a file as UTF-8 text that a terminal and XML show as it is.

    Escapes replace bytes that are not UTF-8, lone surrogates, control characters (but tabs and line ends), and the
    characters that override the direction of the text.

    >>> printable("caf\\udce9.mp4") == r"caf\\xe9.mp4", printable("café.mp4")
    (True, 'café.mp4')
    >>> printable(chr(0xD800)) == r"\\ud800", printable(chr(27) + "[2J") == r"\\x1b[2J"
    (True, True)
    """
    text = _NO_FILE_NAME.sub(lambda found: f"\\u{ord(found[0]):04x}", os.fsdecode(path))
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class UsageError(ValueError):
    """An argument, a file or a combination of options is wrong; the message names it, its value and the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))
