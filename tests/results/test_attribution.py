"""The result object: its formulas against slow loops, and its files against damage."""

import dataclasses
import json
import math
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_attributions import made_attribution, made_values
from PIL import Image

from eagle_jax.errors import InputError
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.published import to_eagle
from eagle_jax.results.saliency import region_values, shown_map
from eagle_jax.results.storage import require_free

FILES = ("attribution.json", "arrays.npz", "image.png")


ANSWER = ("A", " red", " car", ".", "<|im_end|>")


def make(seed=0, shape=(13, 17), n=6, answer=ANSWER, **fields):
    """Curves that go up and down, and regions in pieces."""
    rng = np.random.default_rng(seed)
    tokens = len(fields.get("positions", answer))
    made = {
        "labels": rng.permutation(np.arange(shape[0] * shape[1]) % n).astype(np.int32),
        "insertion": rng.random((n + 1, tokens), dtype=np.float32),
        "deletion": rng.random((n + 1, tokens), dtype=np.float32),
        "prompt": "Beschreibe das Bild: größer? 图",
        "necessity_weight": 0.5,
    }
    made["labels"] = made["labels"].reshape(shape)
    return made_attribution(shape, answer=answer, seed=seed, **(made | fields))


def test_area_counts_the_pixels_of_the_chosen_regions():
    it = make()
    for k in range(it.order.size + 1):
        share = np.isin(it.labels, it.order[:k]).mean()
        assert it.area[k] == np.float32(share)
    assert it.area[0] == 0 and it.area[-1] == 1 and it.area.dtype == np.float32


def test_objective_is_the_weighted_mean_over_tokens():
    it = make(insight_weight=0.7, necessity_weight=1.9)
    for k in range(1, 7):
        terms = [
            0.7 * i + 1.9 * (1 - d)
            for i, d in zip(it.insertion[k], it.deletion[k], strict=True)
        ]
        assert math.isclose(it.objective[k - 1], sum(terms) / len(terms), rel_tol=1e-6)


def test_saliency_follows_the_formula_with_the_weights_in_the_start_value():
    it = make(insight_weight=0.7, necessity_weight=1.9)
    start = 0.7 * it.insertion[0].mean() + 1.9 * (1 - it.deletion[0].mean())
    value, values, last = 0.0, [], start
    for f in it.objective:
        value -= abs(float(f) - last)
        last = float(f)
        values.append(value)
    scaled = (np.array(values) - values[-1]) / (values[0] - values[-1])
    for rank, region in enumerate(it.order):
        np.testing.assert_allclose(it.saliency[it.labels == region], scaled[rank], atol=1e-5)
    assert it.saliency.dtype == np.float32
    assert (it.saliency[it.labels == it.order[0]] == 1).all()
    assert (it.saliency[it.labels == it.order[-1]] == 0).all()


def test_saliency_keeps_tiny_differences_apart():
    steps = np.linspace(0.5, 0.5 + 6e-4, 7, dtype=np.float32)[:, None]
    it = make(positions=[0], insertion=steps, deletion=1 - steps)
    assert len(np.unique(it.saliency)) == 6


def test_saliency_of_flat_curves_and_of_one_region():
    flat = np.full((7, 1), 0.25, np.float32)
    it = make(positions=[0], insertion=flat, deletion=flat)
    np.testing.assert_array_equal(it.saliency, it.labels == it.order[0])
    curve = np.array([[0.1], [0.9]], np.float32)
    one = make(n=1, shape=(1, 1), positions=[0], insertion=curve, deletion=curve[::-1].copy())
    np.testing.assert_array_equal(one.saliency, [[1]])
    assert one.summary()


def test_a_search_cut_short_leaves_the_rest_as_one_step():
    whole = make()
    it = make(order=whole.order[:2], insertion=whole.insertion[:3], deletion=whole.deletion[:3])
    assert it.area.shape == (3,) and it.objective.shape == (2,) and it.regions == 6
    area, insertion, deletion = it.whole
    assert area.tolist() == [*it.area.tolist(), 1.0]
    np.testing.assert_array_equal(insertion[-1], it.deletion[0])
    np.testing.assert_array_equal(deletion[-1], it.insertion[0])
    means = insertion.mean(axis=1, dtype=np.float64)
    expected = np.trapezoid(means, area.astype(np.float64))
    assert math.isclose(it.insertion_auc, expected, rel_tol=1e-9)
    values = [it.saliency[it.labels == region][0] for region in it.order]
    assert values[0] == 1 and 0 <= values[1] <= 1
    assert (it.saliency[~np.isin(it.labels, it.order)] == 0).all()
    assert "cut short after 2 of 6 regions" in it.summary()
    nothing = make(
        order=np.zeros(0, np.int32), insertion=it.insertion[:1], deletion=it.deletion[:1]
    )
    assert not nothing.saliency.any() and nothing.summary() and nothing.area.tolist() == [0]


def test_heat_is_the_saliency_where_there_is_one(tmp_path):
    heat = np.random.default_rng(0).normal(size=(13, 17)).astype(np.float32)
    it = make(heat=heat, method="rise", options={"seed": 3, "mean": None})
    assert it.saliency.min() == 0 and it.saliency.max() == 1
    np.testing.assert_array_equal(np.argsort(it.saliency.ravel()), np.argsort(heat.ravel()))
    it.save(tmp_path / "out")
    again = Attribution.load(tmp_path / "out")
    assert again == it and again.search == "rise" and again.options == {"seed": 3, "mean": None}
    assert not make(heat=np.ones((13, 17), np.float32)).saliency.any()


def several_partitions(seed=5):
    """Two further partitions of 4 and 3 regions, beside 6 regions."""
    rng = np.random.default_rng(seed)
    shape = (2, 13, 17)
    further = rng.integers(0, [[[4]], [[3]]], shape) + np.array([0, 4])[:, None, None]
    values = {
        "values": rng.normal(size=(5, 6)) / 5,
        "errors": rng.random((5, 6)) / 50,
        "further_values": rng.normal(size=(5, 7)) / 5,
        "further_errors": rng.random((5, 7)) / 50,
    }
    values = {name: array.astype(np.float32) for name, array in values.items()}
    return make(further_labels=further.astype(np.int32), **values)


@pytest.mark.parametrize("target, rows", [(None, range(5)), ("red", [1]), ([0, 2], [0, 2])])
def test_the_map_of_several_partitions_averages_values_per_area(target, rows):
    it = several_partitions()
    alone = make(values=it.values, errors=it.errors)
    np.testing.assert_array_equal(
        alone.map(target), np.float32(it.values[rows].mean(0, dtype=float))[it.labels]
    )
    error = np.sqrt((it.errors[rows] ** 2).sum(0))[it.labels] / len(rows)
    np.testing.assert_allclose(alone.map_errors(target), error, rtol=1e-6)
    maps = [it.labels, *it.further_labels]
    values = [it.values, it.further_values, it.further_values]
    errors = [it.errors, it.further_errors, it.further_errors]

    def average(row, column, moved=None, by=0):
        scaled = 0.0
        for i, labels in enumerate(maps):
            region = labels[row, column]
            value = values[i][rows, region].mean(dtype=float)
            if i == moved:
                value += by * math.hypot(*errors[i][rows, region].tolist()) / len(rows)
            size = (labels == region).sum() / (13 * 17 / 6)
            scaled += math.asinh(value / size / 1e-3) / 3
        return 1e-3 * math.sinh(scaled)

    found, error = it.map(target), it.map_errors(target)
    assert found.dtype == error.dtype == np.float32
    for row, column in [(0, 0), (12, 16), (5, 3), (7, 11)]:
        assert found[row, column] == pytest.approx(average(row, column), rel=1e-5)
        moved = [average(row, column, i, 1) - average(row, column, i, -1) for i in range(3)]
        assert error[row, column] == pytest.approx(math.hypot(*moved) / 2, rel=1e-4)
    np.testing.assert_array_equal(it.map(by="order"), alone.map(by="order"))
    np.testing.assert_array_equal(it.ranking, alone.ranking)
    assert it.saliency.min() == 0 and it.saliency.max() == 1


def test_partitions_that_agree_keep_the_values():
    value = np.linspace(-0.2, 0.5, 6, dtype=np.float32)[None].repeat(5, 0)
    labels = (np.arange(12 * 18) % 6).reshape(12, 18).astype(np.int32)
    same = {"values": value, "errors": value**2}
    alone = make(shape=(12, 18), labels=labels, **same)
    it = make(
        shape=(12, 18),
        labels=labels,
        further_labels=labels[None],
        **same,
        **{f"further_{name}": array for name, array in same.items()},
    )
    np.testing.assert_allclose(it.map(), alone.map(), rtol=1e-5)
    assert (it.map_errors() < alone.map_errors() + 1e-9).all()
    with pytest.raises(InputError, match="exact has no values and no errors"):
        make().map_errors()


def test_several_partitions_are_saved(tmp_path):
    it = several_partitions()
    it.save(tmp_path / "out")
    assert Attribution.load(tmp_path / "out") == it != several_partitions(6)
    for change, said in [
        ({"further_values": None}, "further partitions need values, errors"),
        ({"values": None, "errors": None}, "further partitions need values, errors"),
        ({"further_labels": it.further_labels + 1}, "numbered through, all in use"),
        ({"further_labels": it.further_labels - 1}, "numbered through, all in use"),
        ({"further_labels": it.further_labels[:, 1:]}, "as in further_labels"),
        ({"further_labels": it.further_labels * 0}, "further_values must be float32"),
        ({"further_labels": None}, "further_values must be float32"),
        ({"further_errors": it.further_errors * np.float32("nan")}, "must be finite"),
    ]:
        with pytest.raises(InputError, match=said):
            dataclasses.replace(it, **change).save(tmp_path / "other")


def test_a_map_by_values_is_signed_and_the_saliency_shows_what_speaks_for_the_answer():
    it = make(**made_values(5, 6))
    means = it.values.mean(0, dtype=np.float64)
    np.testing.assert_allclose(it.map(), means[it.labels], rtol=1e-5)
    np.testing.assert_allclose(
        it.saliency, np.maximum(means, 0)[it.labels] / means.max(), rtol=1e-5
    )
    np.testing.assert_array_equal(it.map(by="order"), make().saliency)
    np.testing.assert_array_equal(it.ranking, np.argsort(-means))
    np.testing.assert_array_equal(make().ranking, it.order)
    np.testing.assert_allclose(it.map("red car"), it.values[1:3].mean(0)[it.labels], rtol=1e-5)
    np.testing.assert_array_equal(it.map([2]), it.values[2][it.labels])
    worth = region_values(it, "red car")
    both = np.sqrt(it.errors[1] ** 2 + it.errors[2] ** 2) / 2
    np.testing.assert_allclose(worth.errors, both, rtol=1e-5)
    expected = np.abs(it.values[1:3].mean(0)) >= 2 * worth.errors
    np.testing.assert_array_equal(worth.apart, expected)
    assert region_values(make()) is None
    against = make(values=-np.ones((5, 6), np.float32), errors=np.ones((5, 6), np.float32))
    assert (against.map() == -1).all() and not against.saliency.any()


def test_a_part_explains_a_word_out_of_the_whole():
    it = make(
        **made_values(5, 6), pairs=np.zeros((1, 2), np.int32), interaction=np.ones(1, "f")
    )
    part = it.part("red car")
    assert (
        part.positions.tolist() == [1, 2] and part.tokens == (" red", " car") and part.partial
    )
    np.testing.assert_array_equal(part.saliency, shown_map(it.map("red car")))
    np.testing.assert_array_equal(part.map(by="order"), it.map("red car", by="order"))
    np.testing.assert_array_equal(part.insertion, it.insertion[:, 1:3])
    np.testing.assert_array_equal(part.reliance, it.reliance[1:3])
    assert part.pairs is None and part.interaction is None and part.order is it.order
    assert "target      ' red', ' car'" in part.summary()
    assert part.part("car") == it.part("car") != it.part([1])
    heat = make(heat=np.random.default_rng(0).random((13, 17), np.float32), method="rise")
    np.testing.assert_array_equal(heat.part("car").saliency, heat.map("car", by="order"))
    for nothing in ("dog", [9], []):
        with pytest.raises(InputError, match="is not among the target tokens; they are 'A', "):
            it.part(nothing)


def test_values_are_saved_and_importances_of_earlier_releases_are_not_read(tmp_path):
    it = _saved(make(**made_values(5, 6)), tmp_path / "out")
    assert Attribution.load(it) == make(**made_values(5, 6)) != make()
    with np.load(it / "arrays.npz") as held:
        arrays = {name: held[name] for name in held if name not in ("values", "errors")}
    arrays |= {name: np.ones(6, np.float32) for name in ("importance", "uncertainty")}
    reseal(it, lambda record: [record.pop(name) for name in ("gap", "unseen")], arrays)
    reseal(it, lambda record: record.update(schema=3))
    old = Attribution.load(it)
    assert old == make() and old.values is None and old.gap is None
    np.testing.assert_array_equal(old.saliency, old.map(by="order"))


def test_how_much_of_an_answer_rests_on_the_image_is_in_the_summary():
    insertion = np.full((7, 5), 0.5, np.float32)
    insertion[0] = 0.5, 0.25, 0.0, 0.1, 0.1
    it = make(insertion=insertion)
    share = it.image_share
    assert (share.mean, share.count) == (pytest.approx(0.5), 3)
    line = (
        f"image       50% ({share.low:.0%} to {share.high:.0%}) of the words rest on the image"
    )
    assert line in it.summary()
    assert "image       100% of the word rests on the image" in it.part("car").summary()
    assert "\nimage " not in it.part([3, 4]).summary(), "marks are no words"


def test_folders_of_earlier_schemas_still_load(tmp_path):
    it = _saved(make(options={"search": "exact"}), tmp_path / "out")
    with np.load(it / "arrays.npz") as held:
        arrays = {"target" if name == "positions" else name: held[name] for name in held}
    reseal(it, lambda record: record.update(schema=2), arrays)
    assert Attribution.load(it) == make(options={"search": "exact"})
    reseal(it, lambda record: record.pop("fill"))
    assert Attribution.load(it).fill == "black"
    reseal(it, lambda record: [record.pop(name) for name in ("cut", "system", "thinking")])
    assert Attribution.load(it) == make(options={"search": "exact"})
    reseal(it, _as_first_schema)
    assert Attribution.load(it) == make(options={"search": "exact"})


@pytest.mark.parametrize("system, thinking", [("", "off"), ("Be \u00e9\nbrief.", "on")])
def test_the_conversation_around_the_question_is_saved(system, thinking, tmp_path):
    it = make(system=system, thinking=thinking)
    it.save(tmp_path)
    again = Attribution.load(tmp_path)
    assert again == it != make()
    assert (again.system, again.thinking) == (system, thinking)
    assert f"thinking    {thinking}" in it.summary() and "\nsystem " not in make().summary()
    reseal(tmp_path, lambda record: record.update(system=5))
    with pytest.raises(InputError, match="'system' .* must be of type str or NoneType, got 5"):
        Attribution.load(tmp_path)


def _as_first_schema(record):
    del record["method"], record["options"]
    record |= {"schema": 1, "search": "exact"}


def test_what_is_printed_is_short():
    it = make(answer=(" A very", " long", " answer " * 30, "<|im_end|>"))
    assert str(it) == it.summary()
    assert len(repr(it)) < 200 and "\n" not in repr(it)
    assert repr(it).startswith("<Attribution of 'A very long answer answer")
    assert "6 of 6 regions of a 17 x 13 image in order, exact, 42 forwards" in repr(it)


@pytest.mark.parametrize("name", ["mean", "blur"])
def test_the_name_of_a_fill_is_saved(tmp_path, name):
    it = make(fill=name)
    it.save(tmp_path / "out")
    assert Attribution.load(tmp_path / "out") == it != make()
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)
    assert f"fill        {name}" in it.summary() and "fill  " not in make().summary()


def test_an_image_as_fill_is_saved_beside_the_image(tmp_path):
    it = make(fill=np.random.default_rng(3).integers(0, 256, (13, 17, 3), dtype=np.uint8))
    it.save(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*FILES, "fill.png"])
    assert Attribution.load(tmp_path / "out") == it
    assert it != make() and make() != it and "fill        an image" in it.summary()
    it.save(tmp_path / "small", image=False)
    np.testing.assert_array_equal(Attribution.load(tmp_path / "small").fill, it.fill)
    make().save(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)

    it.save(tmp_path / "out")
    reseal(tmp_path / "out", lambda record: record.update(fill="fog"))
    with pytest.raises(InputError, match="fill must be black, mean, blur or an image"):
        Attribution.load(tmp_path / "out")
    it.save(tmp_path / "out")
    Image.fromarray(it.fill[::-1]).save(tmp_path / "out" / "fill.png")
    with pytest.raises(InputError, match="fill.png is damaged"):
        Attribution.load(tmp_path / "out")
    (tmp_path / "out" / "fill.png").unlink()
    with pytest.raises(InputError, match="fill.png"):
        Attribution.load(tmp_path / "out")


def test_auc_of_constant_curves_is_the_constant():
    flat = np.full((7, 5), 0.3, np.float32)
    it = make(insertion=flat, deletion=2 * flat)
    assert math.isclose(it.insertion_auc, np.float32(0.3), abs_tol=1e-6)
    assert math.isclose(it.deletion_auc, np.float32(0.6), abs_tol=1e-6)


def test_counterfactual_targets_are_named_in_the_summary():
    it = make(answer=("Yes", ".", "<|im_end|>"), positions=[0], scored=("No",))
    assert it.counterfactual.tolist() == [True]
    assert "'No' in place of 'Yes'" in it.summary()
    whole = make().summary()
    assert "in place of" not in whole and "42 forwards in 3.0" in whole
    assert whole.count("% of the image") == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order": np.array([0, 1, 2, 3, 4, 4], np.int32)}, "order"),
        ({"order": np.arange(6)}, "order must be int32"),
        ({"labels": np.zeros((13, 17), np.int32)}, "order must name regions of 0..0"),
        ({"labels": np.zeros((13, 16), np.int32)}, "labels must be int32 of shape"),
        ({"labels": np.full((13, 17), -1, np.int32)}, "labels must be 0..n-1"),
        ({"image": np.zeros((13, 17), np.uint8)}, "image must be uint8"),
        (
            {"insertion": np.zeros((6, 5), np.float32)},
            r"insertion must be float32 of shape \(7, 5\)",
        ),
        ({"deletion": np.full((7, 5), np.nan, np.float32)}, "deletion must hold probabilities"),
        ({"insertion": np.full((7, 5), 1.1, np.float32)}, "insertion must hold probabilities"),
        ({"positions": np.array([0, 1, 2, 3, 5], np.int32)}, "positions must be places"),
        ({"answer_ids": np.arange(4, dtype=np.int32)}, "answer_ids"),
        ({"seconds": math.nan}, "seconds"),
        ({"heat": np.zeros((13, 16), np.float32)}, "heat must be float32 of shape"),
        ({"fill": np.zeros((13, 16, 3), np.uint8)}, "fill must be uint8 of shape"),
        ({"options": {"layers": [1]}}, "options must be texts"),
    ],
)
def test_contradicting_fields_are_not_saved(tmp_path, changes, words):
    it = make()
    for name, value in changes.items():
        # Around the constructor, whose annotations are checked in tests only.
        object.__setattr__(it, name, value)
    with pytest.raises(InputError, match=words):
        it.save(tmp_path / "out")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("shape", [(13, 17), (1, 6), (40, 3)])
def test_save_and_load_round_trip(tmp_path, shape):
    it = make(shape=shape)
    it.save(tmp_path / "deep" / "er")
    again = Attribution.load(tmp_path / "deep" / "er")
    assert again == it
    for field in dataclasses.fields(it):
        mine, theirs = getattr(it, field.name), getattr(again, field.name)
        assert type(mine) is type(theirs)
        assert not isinstance(mine, np.ndarray) or mine.dtype == theirs.dtype
    assert again != make(shape=shape, seed=1)
    record = json.loads((tmp_path / "deep" / "er" / "attribution.json").read_text("utf-8"))
    assert record["schema"] == 4 and record["versions"]["numpy"] == np.__version__
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "deep" / "er" / "image.png")), it.image
    )


def test_numbers_of_other_types_and_odd_texts_survive(tmp_path):
    it = make(prompt="lone surrogate \udcff, null \0, line\u2028separator")
    it.save(tmp_path / "a")
    assert Attribution.load(tmp_path / "a") == it


def test_save_replaces_an_attribution_and_leaves_nothing_else(tmp_path):
    make(seed=1).save(tmp_path / "out", figure=True)
    assert (tmp_path / "out" / "figure.png").stat().st_size > 1000
    make(seed=2).save(tmp_path / "out")
    assert Attribution.load(tmp_path / "out") == make(seed=2)
    assert os.listdir(tmp_path) == ["out"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)
    (tmp_path / "empty").mkdir()
    make().save(tmp_path / "empty")
    assert Attribution.load(tmp_path / "empty") == make()


def test_save_refuses_to_destroy_other_things(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(InputError, match="holds other files"):
        make().save(tmp_path / "photos")
    make().save(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="notes.txt"):
        make().save(tmp_path / "out")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="notes.txt"):
        require_free(tmp_path / "out")
    require_free(tmp_path / "new")
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "file", tmp_path / "file" / "inside", "/", tmp_path / ("x" * 300)):
        with pytest.raises(InputError) as error:
            make().save(bad)
        assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "out", "photos"]


def test_a_failed_write_restores_what_was_there(tmp_path, monkeypatch):
    make(seed=1).save(tmp_path / "out")
    rename, calls = os.rename, []

    def fail_on_second(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_on_second)
    with pytest.raises(InputError, match="No space left"):
        make(seed=2).save(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
    assert Attribution.load(tmp_path / "out") == make(seed=1)


@pytest.mark.parametrize("name", FILES)
def test_missing_files_are_named(tmp_path, name):
    make().save(tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError, match=name):
        Attribution.load(tmp_path / "out")


def test_load_of_no_folder(tmp_path):
    with pytest.raises(InputError, match="no attribution.json"):
        Attribution.load(tmp_path / "nowhere")


def test_a_newer_schema_is_said_to_be_newer(tmp_path):
    make().save(tmp_path / "out")
    path = tmp_path / "out" / "attribution.json"
    path.write_text(path.read_text("utf-8").replace('"schema": 4', '"schema": 5'), "utf-8")
    with pytest.raises(InputError, match="schema 5"):
        Attribution.load(tmp_path / "out")


def reseal(folder, edit_record=None, arrays=None, image=None):
    """Rewrite parts of a saved folder with fresh digests, as a careful forger would."""
    from eagle_jax.results import storage

    if arrays is not None:
        np.savez_compressed(folder / "arrays.npz", **arrays)
    if image is not None:
        Image.fromarray(image).save(folder / "image.png")
    record = json.loads((folder / "attribution.json").read_text("utf-8"))
    if edit_record:
        edit_record(record)
    for name in ("arrays.npz", "image.png"):
        record["sha256"][name] = storage._digest((folder / name).read_bytes())
    record["sha256"]["attribution.json"] = storage._seal(record)
    (folder / "attribution.json").write_text(json.dumps(record), "utf-8")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r.pop("prompt"), "prompt"),
        (lambda r: r.update(forwards="many"), "forwards"),
        (lambda r: r.update(forwards=True), "forwards"),
        (lambda r: r.update(seconds=math.inf), "seconds"),
        (lambda r: r.update(tokens=[1, 2, 3, 4, 5]), "tokens"),
        (lambda r: r.update(tokens="ABCDE"), "tokens"),
        (lambda r: r["tokens"].pop(), "insertion must be"),
        (lambda r: r.update(options={"x": [1]}), "options"),
        (lambda r: r.update(options=[]), "options"),
        (lambda r: r["answer_tokens"].append("x"), "answer_ids must be"),
    ],
)
def test_resealed_records_are_still_checked(tmp_path, edit, words):
    make().save(tmp_path / "out")
    reseal(tmp_path / "out", edit)
    with pytest.raises(InputError, match=words):
        Attribution.load(tmp_path / "out")


def test_resealed_arrays_are_still_checked(tmp_path):
    it = make()
    good = dict(np.load(_saved(it, tmp_path / "good") / "arrays.npz"))
    objects = np.array([{}] * it.order.size, dtype=object)
    for number, (name, value) in enumerate(
        {
            "order": it.order.astype(np.int64),
            "labels": it.labels[:-1],
            "insertion": it.insertion + np.float32(2),
            "positions": objects,
            "token_ids": it.token_ids.astype(">i4"),
            "extra": it.order,
        }.items()
    ):
        folder = _saved(it, tmp_path / str(number))
        reseal(folder, arrays=good | {name: value})
        with pytest.raises(InputError) as error:
            Attribution.load(folder)
        assert "\n" not in str(error.value)
    folder = _saved(it, tmp_path / "image")
    reseal(folder, image=it.image[:-1])
    with pytest.raises(InputError, match="RGB image"):
        Attribution.load(folder)


def _saved(it, folder):
    it.save(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return _saved(make(), tmp_path_factory.mktemp("saved") / "out")


damage = st.one_of(
    st.tuples(st.just("truncate"), st.floats(0, 1, exclude_max=True), st.just(b"")),
    st.tuples(st.just("overwrite"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("replace"), st.just(0.0), st.binary(max_size=40)),
    st.tuples(st.just("delete"), st.just(0.0), st.just(b"")),
    st.tuples(st.just("folder"), st.just(0.0), st.just(b"")),
)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(FILES), blow=damage)
def test_damaged_files_load_equal_or_raise_one_clear_line(saved, tmp_path_factory, name, blow):
    folder = tmp_path_factory.mktemp("damaged") / "out"
    shutil.copytree(saved, folder)
    path, (kind, place, content) = folder / name, blow
    data = path.read_bytes()
    at = int(place * len(data))
    if kind in ("delete", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    elif kind == "truncate":
        path.write_bytes(data[:at])
    elif kind == "overwrite":
        path.write_bytes(data[:at] + content + data[at + len(content) :])
    elif kind == "insert":
        path.write_bytes(data[:at] + content + data[at:])
    else:
        path.write_bytes(content)
    check_load(folder, Attribution.load(saved))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seal=st.booleans())
def test_edited_records_load_equal_or_raise_one_clear_line(saved, tmp_path_factory, data, seal):
    folder = tmp_path_factory.mktemp("edited") / "out"
    shutil.copytree(saved, folder)
    record = json.loads((folder / "attribution.json").read_text("utf-8"))
    key = data.draw(st.sampled_from(sorted(record)))
    value = data.draw(json_values)
    if seal and key not in ("sha256", "schema"):
        # A forged but consistent record may say something else; it must not crash.
        reseal(folder, lambda r: r.update({key: value}))
        try:
            Attribution.load(folder)
        except InputError as error:
            assert "\n" not in str(error)
        return
    record[key] = value
    (folder / "attribution.json").write_text(json.dumps(record), "utf-8")
    check_load(folder, Attribution.load(saved))


def check_load(folder, original):
    try:
        assert Attribution.load(folder) == original
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 400


def test_deep_json_is_refused(tmp_path):
    make().save(tmp_path / "out")
    (tmp_path / "out" / "attribution.json").write_text("[" * 200_000)
    with pytest.raises(InputError):
        Attribution.load(tmp_path / "out")


def test_to_eagle_writes_the_published_layout(tmp_path):
    it = make()
    to_eagle(it, tmp_path, "000000000139")
    text = (tmp_path / "json" / "000000000139.json").read_text("utf-8")
    assert text.startswith('{\n    "insertion_score":[\n        0.')
    record = json.loads(text)
    assert list(record) == [
        "insertion_score",
        "deletion_score",
        "smdl_score",
        "insertion_word_score",
        "deletion_word_score",
        "region_area",
        "lambda1",
        "lambda2",
        "sub-region_number",
        "org_score",
        "baseline_score",
        "selected_interpretation_token_id",
        "selected_interpretation_token_word_id",
        "words",
    ]
    assert np.shape(record["insertion_word_score"]) == (6, 5)
    np.testing.assert_array_equal(np.float32(record["deletion_word_score"]), it.deletion[1:])
    np.testing.assert_allclose(record["insertion_score"], it.insertion[1:].mean(1), rtol=1e-6)
    assert record["org_score"] == record["insertion_word_score"][-1]
    assert record["baseline_score"] == record["deletion_word_score"][-1]
    assert record["sub-region_number"] == 6 and record["region_area"][-1] == 1.0
    assert (record["lambda1"], record["lambda2"]) == (1.0, 0.5)
    assert record["words"] == ["A", " red", " car", ".", ""]
    masks = np.load(tmp_path / "npy" / "000000000139.npy", allow_pickle=False)
    assert masks.dtype == np.int64 and masks.shape == (6, 13, 17, 1)
    np.testing.assert_array_equal(masks[..., 0], it.labels[None] == it.order[:, None, None])
    assert sorted(os.listdir(tmp_path / "npy")) == ["000000000139.npy"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/x", "x" * 300])
def test_to_eagle_refuses_names_that_are_no_file_names(tmp_path, name):
    with pytest.raises(InputError):
        to_eagle(make(), tmp_path, name)
