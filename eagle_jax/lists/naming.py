"""Names of items: unique, plain file names that do not depend on the rest of the list."""

import dataclasses
import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.lists.items import Broken, Item

# In bytes. Folders of results are first written under a longer name, and a digest may follow
# a proposed name.
_LONGEST = 180
_LONGEST_PROPOSAL = 170


class Draft(NamedTuple):
    """An item before the names of its list are made unique.

    Attributes:
      item: the item; its `name` may still change unless `named`.
      written: path of the image exactly as it is written in the list.
      named: True if the list gives the name.
    """

    item: Item
    written: str
    named: bool = False


def checked_name(name: str) -> str:
    """Returns `name` unchanged if a result can be stored under it.

    Raises:
      InputError: `name` is not a plain file name.
    """
    if _plain(name, _LONGEST) != name:
        raise InputError(
            f"'name' must be a plain file name of at most {_LONGEST} bytes that does not "
            f"begin with a dot, not {name[:60]!r}"
        )
    return name


def plain_name(text: str) -> str:
    """Proposes a name: the nearest text that can name a file on any system."""
    return _plain(text, _LONGEST_PROPOSAL)


def name_items(drafts: Sequence[Draft | Broken]) -> list[Item | Broken]:
    """Makes the names of a list unique.

    An item keeps its proposed name if no other question of the list has the same proposal;
    otherwise a digest of the item's own question is appended. So a name never passes from one
    question to another when entries are repaired, reordered or added. An item that repeats an
    earlier question is broken, and so are all items to which the list gives the same name.

    Args:
      drafts: the entries, in the order of the list.

    Returns:
      The entries with final names, in the same order.
    """
    valid = [draft for draft in drafts if isinstance(draft, Draft)]
    given = Counter(_key(draft.item.name) for draft in valid if draft.named)
    proposed: dict[str, set[str]] = defaultdict(set)
    for draft in valid:
        if not draft.named:
            proposed[_key(draft.item.name)].add(_digest(draft))
    places: dict[str, str] = {}
    named: dict[str, Item | Broken] = {}
    # Names that the list gives come first, wherever they are in the list.
    for draft in sorted(valid, key=lambda draft: not draft.named):
        place, name = draft.item.place, draft.item.name
        key = _key(name)
        if draft.named and given[key] > 1:
            problem = (
                f"the name {name[:60]!r} is given to {given[key]} entries; give each its own"
            )
            named[place] = Broken(place, problem)
            continue
        if not draft.named and (len(proposed[key]) > 1 or key in given):
            name = f"{name}-{_digest(draft)}"
            key = _key(name)
        if key in places:
            problem = f"the entry repeats {places[key]}; remove it or give it its own name"
            named[place] = Broken(place, problem)
            continue
        places[key] = place
        same = name == draft.item.name
        named[place] = draft.item if same else dataclasses.replace(draft.item, name=name)
    return [named[draft.item.place] if isinstance(draft, Draft) else draft for draft in drafts]


def _plain(text: str, longest: int) -> str:
    kept = "".join("_" if c in '<>:"/\\|?*' or not c.isprintable() else c for c in text)
    kept = kept.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")
    kept = kept.strip(" ").rstrip(".")
    return "_" + kept[1:] if kept.startswith(".") else kept or "_"


def _key(name: str) -> str:
    # A file system may not distinguish names that differ in case or Unicode composition.
    return unicodedata.normalize("NFC", name).casefold()


def _digest(draft: Draft) -> str:
    item = draft.item
    question = [
        draft.written,
        item.prompt,
        item.answer,
        item.target,
        item.target_ids,
        item.label,
        item.category,
        item.boxes,
        item.polygons,
        None if item.mask is None else item.mask.name,
    ]
    # A digest without runs is what it was before lists could hold them.
    question += [item.runs] if item.runs else []
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:8]
