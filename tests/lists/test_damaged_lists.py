"""Damaged and odd lists: each entry is a valid item or named in a line, and harms no other."""

import contextlib
import dataclasses

import damage
import damaged_lists
import pytest

from eagle_jax.errors import InputError
from eagle_jax.lists import Broken, Item, read_list
from eagle_jax.lists.frames import require_frame
from eagle_jax.lists.lines import write_list
from eagle_jax.lists.naming import checked_name


def check_item(item, folder):
    assert checked_name(item.name) == item.name
    assert item.image.is_file() and item.prompt.strip() and item.prompt.encode()
    with contextlib.suppress(InputError):
        mask = item.object_mask(9, 9)
        assert mask is None or mask.shape == (9, 9)
    try:
        require_frame(item, 9, 9)
    except InputError as error:
        damage.require_line(error, folder)


def check_round_trip(items, folder):
    """The items read back from the list of this package are the same."""
    path = folder / "written.jsonl"
    write_list(path, items)
    written = [dataclasses.replace(item, place="", prompt_ids=None) for item in items]
    again = [dataclasses.replace(item, place="") for item in read_list(path)]
    assert written == again


def check(case, folder):
    try:
        entries = read_list(case.path, **case.options)
    except InputError as error:
        damage.require_line(error, folder)
        assert case.whole is None, "other entries are whole"
        return
    for entry in entries:
        if isinstance(entry, Broken):
            damage.require_line(InputError(entry.reason), folder)
            assert entry.reason.isprintable()
        else:
            check_item(entry, folder)
    if items := [entry for entry in entries if isinstance(entry, Item)]:
        check_round_trip(items, folder)
    if case.whole is not None:
        before, behind = case.whole
        valid = [isinstance(entry, Item) for entry in entries]
        assert all(valid[:before] + valid[len(valid) - behind :]), entries
        assert len(valid) >= before + behind


@pytest.mark.parametrize("seeds", damage.blocks(700, 100), ids=str)
def test_damaged_lists(seeds, tmp_path, capfd):
    folder = damaged_lists.make_folder(tmp_path)
    for seed in seeds:
        case = damaged_lists.make_case(seed, folder)
        try:
            with damage.quietly(capfd):
                check(case, folder)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {case.said}: {error}") from error
