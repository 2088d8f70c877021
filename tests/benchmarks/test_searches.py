"""The comparison of searches on one tiny checkpoint: tables, plot, and going on."""

import json
from pathlib import Path

import matplotlib.image
import pytest
import searches

from eagle_jax.search import SEARCHES
from eagle_jax.search.methods import usual_forwards


def test_tables_and_plot_of_what_was_measured_and_no_search_twice(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(searches, "FAMILIES", ("llava",))
    ask = ["--folder", str(tmp_path), "--items", "0", "--random", "1", "--regions", "9"]
    assert searches.main([*ask, "--searches", "exact", "surrogate@0.5"]) == 0
    path = tmp_path / "measured.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [one["search"] for one in rows] == ["exact", "surrogate@0.5"]
    assert rows[0]["forwards"] == 90 and rows[1]["forwards"] <= 45
    assert searches.loss([(rows[1], rows[0])]) == pytest.approx(
        100 * (1 - rows[1]["area"] / rows[0]["area"])
    )

    def measure(question, search):
        assert search == "lazy", "measured before"
        return rows[0] | {"search": search}

    question = searches.Question("random", "llava-0", None)
    monkeypatch.setattr(searches, "_random", lambda *_: question)
    monkeypatch.setattr(searches, "measure", measure)
    monkeypatch.setattr(searches, "SEARCHES", ("exact", "lazy"))
    capsys.readouterr()
    assert searches.main([*ask, "--searches", "exact", "lazy"]) == 0
    title, _, head, _, exact, lazy = capsys.readouterr().out.strip().splitlines()
    assert title == "### Random checkpoints, 9 regions" and head.startswith(
        "| search | items |"
    )
    assert exact.startswith("| `exact` | 1 | 90 | 100.0% |") and "| 0.00 [0.00, 0.00] |" in lazy
    assert matplotlib.image.imread(tmp_path / "searches.png").std() > 0


def test_every_search_is_on_the_page_with_its_usual_forwards():
    for regions in (36, 64, 144):
        forwards = _on_the_page(regions)
        assert forwards.keys() >= SEARCHES.keys()
        assert usual_forwards(regions) == pytest.approx(forwards["auto"], rel=0.15)


def _on_the_page(regions: int) -> dict[str, float]:
    """Forwards of each search in docs/searches.md."""
    page = (Path(__file__).parents[2] / "docs" / "searches.md").read_text("utf-8")
    table = page.split(f"### Storybook, {regions} regions")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    return {row[1].strip("`"): float(row[3].replace(",", "")) for row in rows[2:]}
