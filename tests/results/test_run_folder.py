"""Results of a run survive the disk, and damage to them is noticed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_results import corrected_from, made_result

from eagle_jax.errors import InputError
from eagle_jax.results.run_folder import (
    finished_names,
    is_finished,
    read_item,
    read_result,
    read_results,
    result_folder,
    write_result,
)


def full_result():
    result = made_result("boat 7", answers=(*corrected_from(3)[:24], None))
    item = dataclasses.replace(
        result.item,
        answer=(1, 2, 3),
        target=(0, 2),
        target_ids=("No", 5),
        prompt_ids=(7, 8),
        category="boat",
        polygons=((0.5, 1.0, 7.0, 2.0, 3.0, 9.25),),
        mask=Path("masks/boat.png"),
    )
    return result._replace(item=item)


def test_everything_comes_back(tmp_path):
    result = full_result()
    write_result(tmp_path, result)
    found = read_result(tmp_path, "boat 7")
    assert found.item == result.item and found.answers == result.answers
    assert found.attribution == result.attribution
    np.testing.assert_array_equal(found.mask, result.mask)
    assert read_item(tmp_path, "boat 7") == result.item
    assert sum(file.stat().st_size for file in (tmp_path / "items" / "boat 7").iterdir()) < 9000


def test_what_is_not_known_stays_unknown(tmp_path):
    result = made_result("plain", mask=False)
    result = result._replace(item=dataclasses.replace(result.item, boxes=()))
    write_result(tmp_path, result)
    found = read_result(tmp_path, "plain")
    assert (found.mask, found.answers, found.controls) == (None, None, None)
    assert found.item == result.item


def test_unfinished_folders_are_not_results(tmp_path):
    for name in ("b", "a"):
        write_result(tmp_path, made_result(name))
    (tmp_path / "items" / ".c-0123abcd-new").mkdir()
    assert finished_names(tmp_path) == ["a", "b"]
    assert [found.item.name for found in read_results(tmp_path)] == ["a", "b"]
    assert is_finished(tmp_path, "a") and not is_finished(tmp_path, "c")
    with pytest.raises(InputError, match="holds no run"):
        finished_names(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-9], "missing or damaged"),
        (lambda text: text.replace('"prompt"', '"promt"'), "missing or damaged"),
        (lambda text: json.dumps(json.loads(text) | {"answers": ["No"]}), "holds 1 answers"),
        (lambda text: "[]", "missing or damaged"),
    ],
)
def test_damage_is_named(damage, said, tmp_path):
    write_result(tmp_path, full_result())
    path = result_folder(tmp_path, "boat 7") / "item.json"
    path.write_text(damage(path.read_text("utf-8")))
    with pytest.raises(InputError, match=said):
        read_result(tmp_path, "boat 7")
