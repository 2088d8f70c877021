"""The storybook benchmark: its table from hand-made results, and one small run of all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import storybook
from made_attributions import made_attribution

from eagle_jax.demo import MISTAKES
from eagle_jax.demo.scenes import PARTNERS, draw_scene
from eagle_jax.lists import Item
from eagle_jax.results.run_folder import ItemResult, read_results


def result(answers=None, mask=None, **item):
    attribution = made_attribution(
        shape=(168, 168), answer=("Yes",), positions=[0], scored=["No"]
    )
    given = {"name": "a", "place": "", "image": Path("1.png"), "prompt": "Q?"} | item
    return ItemResult(Item(**given), attribution, mask, answers)


def wrong(*right, label="No"):
    """A wrong Yes whose answers are right with these numbers of regions visible."""
    n = made_attribution(shape=(168, 168)).order.size
    answers = tuple("No" if k in right else "Yes" for k in range(n + 1))
    return result(answers, label=label, answer="Yes")


def test_corrections_in_the_table():
    n = made_attribution(shape=(168, 168)).order.size
    items = [wrong(n - 1), wrong(0, 1, 2), wrong()]
    (line, part) = storybook.table({"mistakes": items})
    area = items[0].attribution.area
    expected = np.mean([1 - area[n - 1], 1 - area[2], 1])
    assert line.items == part.items == 3 and part.title == "  wrong Yes"
    assert line.values["AMCR"].mean == pytest.approx(expected)
    quick = 1 - area[n - 1] <= 0.1
    assert line.values["CSR@10%"].mean == pytest.approx(quick / 3)
    assert line.values["CSR corrected"].mean == pytest.approx(quick / 2)
    found = {name: value for name, value, *_ in storybook.goals([line], {})}
    assert found["AMCR of wrong answers"] == pytest.approx(expected)


def test_bisection_asks_recorded_answers():
    n = made_attribution(shape=(168, 168)).order.size
    # Probabilities of the insertion curve rise with k: the fullest picture promises most.
    for right in [(), range(0, 3), range(0, n)]:
        scan, quick, asked = storybook.bisection(wrong(*right))
        assert asked <= 1 + 1 + np.ceil(np.log2(n))
        assert np.isnan(quick) or quick >= scan
    assert storybook.bisection(wrong(n))[1:] == (0.0, 1)


def test_reliance_is_split_by_the_kind_of_word():
    words = ("The", " image", " shows", " a", " red", " car", ".")
    one = result()._replace(attribution=made_attribution(answer=words))
    found = storybook.reliance_by_word([one])
    values = one.attribution.reliance
    assert found["frame"].tolist() == values[:3].tolist()
    assert found["content"].tolist() == values[4:6].tolist()
    assert found["other"].tolist() == values[[3, 6]].tolist()


def test_planted_partners_are_told_apart():
    entry = next(
        entry
        for entry in json.loads(MISTAKES.read_text())["wrong_yes"]
        if entry["partner_present"]
    )
    scene = draw_scene(entry["seed"])
    picture = Path(f"{scene.seed}.png")
    there = PARTNERS[entry["kind"]]
    mask = np.ones((168, 168), bool)
    beside = result(mask=mask, image=picture, category=entry["kind"])
    alone = result(mask=mask, image=picture, category="key")
    assert there in [one.kind for one in scene.objects]
    lines = storybook.table({"words": [beside, alone, alone]})
    assert [line.items for line in lines] == [3, 2, 1]
    assert [line.values["pointing"].mean for line in lines] == [1, 1, 1]
    page = storybook.page(lines, {"note": 0.5})
    assert "goal: pointing game, object words at least 0.95" in page and "reached" in page


@pytest.mark.slow
def test_the_whole_benchmark_and_its_resumption(tmp_path, capsys):
    arguments = ["--captions", "1", "--colours", "0", "--mistakes", "2", "--regions", "9"]
    arguments += ["--folder", str(tmp_path / "book"), "--json", str(tmp_path / "found.json")]
    assert storybook.main(arguments) == 0
    first, told = (tmp_path / "found.json").read_text(), capsys.readouterr().out
    assert "captions, every token" in told and "seed 60000000" in told
    found = json.loads(first)
    titles = {line["title"]: line["items"] for line in found["lines"]}
    assert titles["captions, an object's word"] == 1 and titles["wrong answers"] == 2
    held = list(read_results(tmp_path / "book" / "runs" / "mistakes"))
    assert all(one.answers is not None and None not in one.answers for one in held)
    assert storybook.main(arguments) == 0
    again = json.loads((tmp_path / "found.json").read_text())
    assert again["lines"] == found["lines"] and again["cost"] == found["cost"]
    fewer = [*arguments[:5], "1", *arguments[6:]]
    assert storybook.main(fewer) == 2
    assert "choose a new --folder" in capsys.readouterr().err
