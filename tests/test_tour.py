"""The notebook: its cells run as they stand, and what it shows is what they give."""

import json
import re
from pathlib import Path

import numpy as np

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def apart(text):
    """A text without its numbers, and the numbers; lines about time left out."""
    lines = [line for line in text.splitlines() if "forwards in" not in line]
    pieces = re.split(r"(-?\d+\.?\d*)", "\n".join(lines))
    return [" ".join(one.split()) for one in pieces[::2]], [float(one) for one in pieces[1::2]]


def test_the_tour_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(TOUR.read_text("utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    names: dict = {}
    for cell in cells:
        source = "".join(cell["source"])
        exec(compile(source, str(TOUR), "exec"), names)
    said = capsys.readouterr().out
    shown = [
        "".join(output["text"])
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "stream"
    ]
    # Times differ from machine to machine; orders and scores do not.
    texts, numbers = zip(*(apart(one) for one in (said, "".join(shown))), strict=True)
    assert texts[0] == texts[1]
    np.testing.assert_allclose(numbers[0], numbers[1], atol=2e-3)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    html = names["attribution"]._repr_html_()
    kept = ["".join(one["data"]["text/html"]) for one in outputs if "text/html" in str(one)]
    assert len(kept) == 1 and kept[0].startswith("<iframe") and html.startswith("<iframe")
    assert np.isfinite(names["gradient"]).all()
    assert (tmp_path / "pages" / "index.html").exists()
