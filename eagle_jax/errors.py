"""The one error that means: the input is wrong, and this is what to do about it."""

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """Something the user passed cannot be used.

    The message is one line: what was wrong, where, and what would be accepted.
    The command line prints it and exits with code 2.
    """


@contextlib.contextmanager
def one_line(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns errors into an `InputError` of one line.

    Args:
      what: could not be done.
      errors: what to turn; an `InputError` passes as it is.

    Raises:
      InputError: ``what`` and the reason.
    """
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(f"{what}: {reason(error)}") from error


def reason(error: BaseException, longest: int | None = None) -> str:
    """The message of an error on one line.

    Args:
      error: of any kind; of one from the file system what it says, and of which file, and of
        one without a message its name.
      longest: characters after which it is cut; None for all of them.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error)
    return (" ".join(text.split()) or type(error).__name__)[:longest]
