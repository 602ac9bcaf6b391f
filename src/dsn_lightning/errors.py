"""The one error that users cause: commands print it as one line and exit with code 2."""


class UsageError(ValueError):
    """An argument, a file or a combination of options is wrong; the message names it, its value and the remedy."""
