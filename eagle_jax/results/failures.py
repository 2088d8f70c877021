"""Items of a run that have no result, and why: DIR/failures/NAME.json."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eagle_jax.errors import InputError, printable, reason
from eagle_jax.files import write_file

FAILURES = "failures"


class Failure(NamedTuple):
    """An item without a result.

    Attributes:
      name: name of the item; its place if the entry of the list is broken.
      place: place of the entry in the list, such as "line 3".
      reason: what was wrong, in one line.
    """

    name: str
    place: str
    reason: str


def describe_error(error: Exception) -> tuple[str, Exception | None]:
    """The line that names an error, and the error itself if it is a fault of the program.

    Args:
      error: what stopped the explanation of an item.
    """
    if isinstance(error, InputError):
        return reason(error), None
    if "RESOURCE_EXHAUSTED" in str(error):
        return "the device is out of memory: give a smaller batch size", None
    return f"unexpected {type(error).__name__}: {reason(error, 200)}", error


def write_failure(out: Path, failure: Failure, error: Exception | None = None) -> None:
    """Records a failure, in place of an earlier failure of the same item.

    Args:
      out: folder of the run.
      failure: the failure.
      error: a fault of the program, whose traceback is recorded as well; or None.

    Raises:
      InputError: the file system refuses.
    """
    record = failure._asdict()
    if error is not None:
        record["traceback"] = "".join(traceback.format_exception(error))
    write_file(_path(out, failure.name), json.dumps(record, indent=2) + "\n")


def read_failures(out: Path) -> Iterator[tuple[str, str]]:
    """Names of the items that failed, sorted, and the reasons, each in one line.

    Args:
      out: folder of the run.

    Yields:
      A name and a reason; a record that cannot be read gives that as its reason.
    """
    for path in sorted((out / FAILURES).glob("*.json")):
        try:
            why = json.loads(path.read_text(encoding="utf-8"))["reason"]
            if not isinstance(why, str):
                raise ValueError("the reason is not text")
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            why = f"{path} is damaged: {reason(error, 120)}"
        yield path.stem, printable(" ".join(why.split()))


def remove_failure(out: Path, name: str) -> None:
    """Removes the record of an item's failure, if there is one."""
    _path(out, name).unlink(missing_ok=True)


def _path(out: Path, name: str) -> Path:
    return out / FAILURES / f"{name}.json"
