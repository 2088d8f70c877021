"""Exported runs, read as the published scripts read them, give our published measures."""

import dataclasses
import json

import numpy as np
import pytest
from made_results import corrected_from, made_result, write_run

from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.lists.masks import fill_polygons
from eagle_jax.results.evaluation import evaluate
from eagle_jax.results.published_run import export_run


def published_reading(folder):
    """What the published evaluation makes of a folder; protocol of EAGLE, sections 4 and 6."""
    found = {name: [] for name in ("insertion", "deletion", "box", "mask", "correction")}
    for path in sorted((folder / "json").iterdir()):
        record = json.loads(path.read_text("utf-8"))
        masks = np.load(folder / "npy" / f"{path.stem}.npy")
        area = np.array([0, *record["region_area"]])
        insertion = [record["deletion_score"][-1], *record["insertion_score"]]
        deletion = [record["insertion_score"][-1], *record["deletion_score"]]
        found["insertion"].append(np.trapezoid(insertion, area))
        found["deletion"].append(-np.trapezoid(deletion, 1 - area))
        if "location" in record:
            start = np.mean(1 - np.array(record["org_score"]) + record["baseline_score"])
            changes = np.diff([start, *record["smdl_score"]])
            canvas = np.zeros(masks.shape[1:], np.float16)
            for mask, value in zip(masks, -np.cumsum(np.abs(changes)), strict=True):
                canvas[mask == 1] = value
            canvas = (canvas - canvas.min())[..., 0]
            canvas = canvas / canvas.max()
            x0, y0, x1, y1 = record["location"]
            found["box"].append(canvas[y0:y1, x0:x1].max() == canvas.max())
            inside = fill_polygons(record["segmentation"], *canvas.shape)
            found["mask"].append((canvas * inside).max() == canvas.max())
        if "revised_answering" in record:
            word = {"yes": "Yes", "no": "No"}[record["label"]]
            right = [text.startswith(word) for text in record["revised_answering"]]
            assert len(right) == len(masks)
            last = max(k for k, one in enumerate(right, 1) if one)
            found["correction"].append(1 - area[last])
    return {name: np.mean(values) for name, values in found.items() if values}


def test_words_are_read_alike(tmp_path):
    wrong = np.roll(np.arange(24), 12).astype(np.int32)
    results = [
        made_result("a", "word", 1),
        made_result("b", "word", 2, order=wrong),
        made_result("c", "word", 3),
    ]
    item = dataclasses.replace(results[2].item, polygons=((0.0, 0.0, 19.0, 0.0, 19.0, 19.0),))
    results[2] = results[2]._replace(item=item, mask=item.object_mask(40, 60))
    out = write_run(tmp_path / "run", results)
    assert cli.main(["export", str(out), "--out", str(tmp_path / "eagle")]) == 0
    theirs = published_reading(tmp_path / "eagle")
    ours = evaluate(out, published_measures=True).groups["word"].measures
    assert theirs["insertion"] == pytest.approx(ours["insertion_auc"].mean, abs=1e-6)
    assert theirs["deletion"] == pytest.approx(ours["deletion_auc"].mean, abs=1e-6)
    assert theirs["box"] == pytest.approx(ours["box_pointing"].mean) == pytest.approx(2 / 3)
    assert theirs["mask"] == pytest.approx(ours["mask_pointing"].mean)
    record = json.loads((tmp_path / "eagle" / "json" / "a.json").read_text("utf-8"))
    assert record["words"] == " kite" and record["output_words"][-1] == ""
    assert record["select_category"] == "kite"
    assert record["selected_interpretation_token_id"] == [2]


def test_a_mask_without_outlines_fills_exactly_its_pixels(tmp_path):
    result = made_result("a", "word")
    mask = np.random.default_rng(0).random((40, 60)) < 0.3
    out = write_run(tmp_path / "run", [result._replace(mask=mask)])
    export_run(out, tmp_path / "eagle")
    record = json.loads((tmp_path / "eagle" / "json" / "a.json").read_text("utf-8"))
    filled = fill_polygons(record["segmentation"], 40, 60)
    np.testing.assert_array_equal(filled, mask)
    assert all(len(outline) == 6 for outline in record["segmentation"])


def test_wrong_answers_are_read_alike(tmp_path):
    results = [
        made_result("a", "presence", 1, answers=corrected_from(20)),
        made_result("b", "presence", 2, answers=corrected_from(7)),
    ]
    out = write_run(tmp_path / "run", results)
    assert export_run(out, tmp_path / "eagle") == 2
    theirs = published_reading(tmp_path / "eagle")
    ours = evaluate(out, published_measures=True).groups["presence"].measures
    assert theirs["correction"] == pytest.approx(ours["correction"].mean, abs=1e-6)
    record = json.loads((tmp_path / "eagle" / "json" / "a.json").read_text("utf-8"))
    assert record["label"] == "no" and record["counter_word_id"] == [5]
    assert "location" not in record


def test_answers_by_bisection_cannot_be_exported(tmp_path):
    answers = (None, *corrected_from(3)[1:])
    out = write_run(tmp_path / "run", [made_result("a", "presence", answers=answers)])
    with pytest.raises(InputError, match="--regenerate scan"):
        export_run(out, tmp_path / "eagle")


def test_nothing_to_export(tmp_path, capsys):
    assert cli.main(["export", str(tmp_path), "--out", str(tmp_path / "eagle")]) == 2
    assert "holds no run" in capsys.readouterr().err
