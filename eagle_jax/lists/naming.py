"""Names of items: unique, plain file names that outlive changes elsewhere in the list."""

import dataclasses
import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.lists.items import Broken, Item

# In bytes. Folders of results are written beside their final place, under a longer name; and
# a digest may follow a proposed name.
_LONGEST = 180
_LONGEST_PROPOSAL = 170


class Draft(NamedTuple):
    """An item whose name is not final.

    Attributes:
      item: its `name` is a proposal unless `named`.
      written: its image as the list writes it.
      named: whether the list itself gives the name.
    """

    item: Item
    written: str
    named: bool = False


def checked_name(name: str) -> str:
    """The name itself, if a result can be stored under it.

    Raises:
      InputError: it is no plain file name.
    """
    if _plain(name, _LONGEST) != name:
        raise InputError(
            f"'name' must be a plain file name of at most {_LONGEST} bytes that does not "
            f"begin with a dot, not {name[:60]!r}"
        )
    return name


def plain_name(text: str) -> str:
    """The nearest text that can name a file on any system, as a proposal."""
    return _plain(text, _LONGEST_PROPOSAL)


def name_items(drafts: Sequence[Draft | Broken]) -> list[Item | Broken]:
    """Makes the names of a list unique.

    An item keeps the proposed name where no other question of the list wants it; else each
    gets a digest of its own question after it. So no change elsewhere in the list, neither
    of broken entries nor of order, hands a name over from one question to another.
    An item that asks what an earlier one asks is broken, and so are all that claim the same
    name for themselves.

    Args:
      drafts: in the order of the list.

    Returns:
      As many entries, in the same order.
    """
    claims = Counter(_key(d.item.name) for d in drafts if isinstance(d, Draft) and d.named)
    wants: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        if isinstance(draft, Draft) and not draft.named:
            wants[_key(draft.item.name)].add(_digest(draft))
    taken: dict[str, str] = {}
    names: dict[int, str] = {}
    broken: dict[int, Broken] = {}
    # Names that the list gives come first, wherever they stand.
    for number, draft in sorted(
        ((n, d) for n, d in enumerate(drafts) if isinstance(d, Draft)),
        key=lambda pair: not pair[1].named,
    ):
        item, name = draft.item, draft.item.name
        key = _key(name)
        if draft.named and claims[key] > 1:
            reason = f"the name {name!r} is given to {claims[key]} entries; give each its own"
            broken[number] = Broken(item.place, reason)
            continue
        if not draft.named and (len(wants[key]) > 1 or key in claims):
            name = f"{name}-{_digest(draft)}"
            key = _key(name)
        if key in taken:
            reason = f"it repeats {taken[key]}; leave it out, or give it a name of its own"
            broken[number] = Broken(item.place, reason)
            continue
        taken[key], names[number] = item.place, name
    return [
        broken[number]
        if number in broken
        else dataclasses.replace(draft.item, name=names[number])
        if isinstance(draft, Draft)
        else draft
        for number, draft in enumerate(drafts)
    ]


def _plain(text: str, longest: int) -> str:
    kept = "".join("_" if c in '<>:"/\\|?*' or not c.isprintable() else c for c in text)
    kept = kept.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")
    kept = kept.strip(" ").rstrip(".")
    return "_" + kept[1:] if kept.startswith(".") else kept or "_"


def _key(name: str) -> str:
    # File systems may take names that differ in case or composition for one.
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
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:8]
