"""What earlier runs left in a folder: finished items, failures, and scraps of a killed run."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from eagle_jax.lists import Broken, Item
from eagle_jax.results.failures import Failure, read_failures, remove_failure
from eagle_jax.results.run_folder import ITEMS, is_finished, read_item


def sort_entries(
    out: Path, entries: Sequence[Item | Broken]
) -> tuple[list[Item], list[Item], list[Failure]]:
    """Sorts the entries of a list into waiting, finished and failed ones.

    Args:
      out: folder of the run.
      entries: entries of a list.

    Returns:
      Items without a result, items with a result, and a failure for each entry that is broken
      or whose result belongs to another question.
    """
    waiting, finished, failures = [], [], []
    for entry in entries:
        if isinstance(entry, Broken):
            failures.append(Failure(_name(entry), *entry))
        elif not is_finished(out, entry.name):
            waiting.append(entry)
        elif difference := _other_question(out, entry):
            failures.append(Failure(entry.name, entry.place, difference))
        else:
            finished.append(entry)
    return waiting, finished, failures


def remove_leftovers(
    out: Path, entries: Sequence[Item | Broken], process: tuple[int, int]
) -> None:
    """Removes old failures, and unfinished folders of a killed run.

    Only those of the entries of this process are removed; the first process also removes
    failures of entries that are no longer in the list.

    Args:
      out: folder of the run.
      entries: entries of the whole list.
      process: index of this process and number of processes.
    """
    number, count = process
    names = {_name(entry) for entry in entries[number::count]}
    every = {_name(entry) for entry in entries}
    for name, _ in tuple(read_failures(out)):
        if name in names or (number == 0 and name not in every):
            remove_failure(out, name)
    for path in (out / ITEMS).glob(".*"):
        # ".NAME-0123abcd-new", see `eagle_jax.files.new_folder`.
        if path.name[1:].rsplit("-", 2)[0] in names:
            shutil.rmtree(path, ignore_errors=True)


def _name(entry: Item | Broken) -> str:
    return entry.name if isinstance(entry, Item) else entry.place.replace(" ", "-")


def _other_question(out: Path, item: Item) -> str | None:
    """Why a result belongs to another question than the item of its name, or None."""
    stored = read_item(out, item.name)
    for field in dataclasses.fields(Item):
        # Lists grow, and images move.
        if field.name in ("place", "image", "mask"):
            continue
        before, now = getattr(stored, field.name), getattr(item, field.name)
        if before != now:
            return (
                f"{out / ITEMS / item.name} holds the result of another question ({field.name} "
                f"{before!r}, now {now!r}): remove the folder, or choose another --out folder"
            )
    return None
