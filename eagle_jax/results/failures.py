"""Items of a run that have no result, and why: DIR/failures/NAME.json."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eagle_jax.errors import reason
from eagle_jax.files import write_file

FAILURES = "failures"


class Failure(NamedTuple):
    """An item without a result.

    Attributes:
      name: of the item; its place where the list itself is broken.
      place: where it stands in the list.
      reason: what was wrong, one line.
    """

    name: str
    place: str
    reason: str


def write_failure(out: Path, failure: Failure, error: Exception | None = None) -> None:
    """Records a failure, in place of an earlier one of the same item.

    Args:
      out: folder of the run.
      failure: what to record.
      error: of ours, whose traceback is recorded as well.

    Raises:
      InputError: the file system refuses.
    """
    record = failure._asdict()
    if error is not None:
        record["traceback"] = "".join(traceback.format_exception(error))
    write_file(_path(out, failure.name), json.dumps(record, indent=2) + "\n")


def read_failures(out: Path) -> Iterator[tuple[str, str]]:
    """Names of the items that failed, sorted, and the reasons, each on one line.

    Args:
      out: folder of the run. A record that cannot be read is itself the reason.
    """
    for path in sorted((out / FAILURES).glob("*.json")):
        try:
            why = str(json.loads(path.read_text(encoding="utf-8"))["reason"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            why = f"{path} is damaged: {reason(error)}"
        yield path.stem, " ".join(why.split())


def remove_failure(out: Path, name: str) -> None:
    """Forgets that an item failed, if it did."""
    _path(out, name).unlink(missing_ok=True)


def _path(out: Path, name: str) -> Path:
    return out / FAILURES / f"{name}.json"
