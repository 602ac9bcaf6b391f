"""The one error that users cause: commands print it as one line and exit with code 2."""


class UsageError(ValueError):
    """Something in the user's hands is wrong: an argument, a file, a combination of options.

    The message names the argument, its value and the remedy.
    """
