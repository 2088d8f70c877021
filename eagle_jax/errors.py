"""The one error that means: the input is wrong, and this is what to do about it."""


class InputError(ValueError):
    """Something the user passed cannot be used.

    The message is one line: what was wrong, where, and what would be accepted.
    The command line prints it and exits with code 2.
    """
