"""The error for wrong input: its message says what was wrong and what to do about it."""

import contextlib
import errno
from collections.abc import Iterable, Iterator

# What to do about errors of the file system whose reason does not say so.
_REMEDIES = {
    errno.ENOSPC: "; free some space",
    errno.EDQUOT: "; free some space of your quota",
    errno.EROFS: "; choose a folder that can be written",
}


class InputError(ValueError):
    """An argument, a file or an option that cannot be used.

    The message is one line: what was wrong, where, and what would be accepted. Characters of it
    that are not printable, from names and values in files, are escaped.
    The command line prints it and exits with code 2.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


@contextlib.contextmanager
def one_line(problem: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns errors in a `with` block into an `InputError` of one line.

    Args:
      problem: start of the message, such as "cannot write map.png"; the reason follows it.
      errors: types of errors to turn; an `InputError` passes unchanged.

    Raises:
      InputError: the block raised such an error.
    """
    try:
        yield
    except InputError:
        raise
    except errors as error:
        raise InputError(f"{problem}: {reason(error)}") from error


def require_choice(argument: str, value: object, choices: Iterable[str]) -> None:
    """Raises unless the value of an argument is one of the names that it may be.

    Args:
      argument: name of the argument.
      value: its value.
      choices: the accepted names.

    Raises:
      InputError: the value is none of them; the message lists them.
    """
    choices = [*choices]
    if value not in choices:
        raise InputError(f"{argument} is {value!r}; it must be one of {', '.join(choices)}")


def shown_value(value: object) -> str:
    """A value as messages show it: its Python form, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """A text with escapes in place of the characters that are not printable."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def reason(error: BaseException, longest: int | None = None) -> str:
    """The message of an error on one line.

    Args:
      error: any error. An error from the file system gives its description and its file; an
        error without a message gives the name of its type.
      longest: maximum number of characters, after which the text is cut; None for no limit.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        text += _REMEDIES.get(error.errno or 0, "")
    else:
        text = str(error)
    return (" ".join(text.split()) or type(error).__name__)[:longest]
