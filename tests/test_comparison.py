"""Several methods on one list: judged alike, paired by item, resumed."""

import json

import numpy as np
import pytest
from PIL import Image

from eagle_jax import (
    Attribution,
    InputError,
    Settings,
    ask,
    cli,
    compare_methods,
    curves_along,
    load,
)
from eagle_jax.baselines.options import method_with_options
from eagle_jax.comparison import Perturbation, judge, judging
from eagle_jax.lists import read_list

METHODS = ("eagle", "leave-one-out", "random", "relevance")
PROMPT = "Is there a cat in the image?"


@pytest.fixture(scope="module")
def entries(tmp_path_factory, make_image):
    folder, lines = tmp_path_factory.mktemp("list"), []
    for seed in (1, 2):
        Image.fromarray(make_image(seed, 90, 150)).save(folder / f"{seed}.png")
        line = {"image": f"{seed}.png", "prompt": PROMPT, "answer": "Yes, a cat."}
        lines.append(line | {"target": "cat", "boxes": [[0, 0, 40, 40]]})
    (folder / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_list(folder / "list.jsonl")


@pytest.fixture(scope="module")
def found(entries, untied, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "out"
    settings = Settings(model=str(untied), regions="grid:2x3")
    return out, settings, compare_methods(entries, out, settings, METHODS)


def test_all_methods_are_judged_on_the_same_parts(found, entries):
    out, _, comparison = found
    (columns,) = comparison.columns.values()
    own = {column.title: column for column in columns}
    views = ["region, black", "grid:7x7, blur", "grid:9x9, mean", "pixel:10, black"]
    views.append("voronoi:49, black")
    columns = [f"{what}, {view}" for view in views for what in ("insertion", "deletion")]
    assert [*own] == [*columns, "pointing, box"]
    for method in METHODS:
        runs = [Attribution.load(out / method / "items" / one.name) for one in entries]
        for what in ("insertion", "deletion"):
            values = [getattr(one, f"{what}_auc") for one in runs]
            interval = own[f"{what}, region, black"].values[method]
            assert interval.mean == pytest.approx(np.mean(values), abs=1e-6)
            assert interval.count == 2
        assert comparison.costs[method].forwards == np.mean([one.forwards for one in runs])
        # One for each token of "cat".
        assert comparison.costs[method].backwards == (2 if method == "relevance" else 0)
    held_out = own["insertion, grid:7x7, blur"]
    eagle, random = held_out.values["eagle"].mean, held_out.values["random"].mean
    assert held_out.differences["random"].mean == pytest.approx(eagle - random, abs=1e-9)
    assert held_out.gains["random"] == pytest.approx((eagle - random) / random, rel=1e-9)
    assert "eagle" not in held_out.differences


def test_maps_of_an_item_are_drawn(found, entries):
    for one in entries:
        with Image.open(found[0] / "figures" / f"{one.name}.png") as drawn:
            assert drawn.width == 2200 and len(np.unique(np.asarray(drawn))) > 50


def test_what_is_done_is_not_done_again(found, entries, monkeypatch):
    out, settings, before = found
    monkeypatch.setattr(judging, "judge", None)
    again = compare_methods(entries, out, settings, METHODS)
    assert again.columns == before.columns and again.costs == before.costs
    assert all(one.forwards == 0 and one.finished == 2 for one in again.summaries.values())


@pytest.mark.parametrize("partition", ["pixel", "patch"])
def test_finer_parts_follow_the_map(partition, found, entries):
    out, settings, _ = found
    attribution = Attribution.load(out / "leave-one-out" / "items" / entries[0].name)
    attribution = attribution.with_image(entries[0].image)
    model, saliency = load(settings.model), attribution.saliency
    values = judge(model, attribution, Perturbation(partition, "mean"))
    if partition == "pixel":
        order = np.argsort(-saliency.ravel(), kind="stable")
        labels = np.empty(order.size, np.int32)
        for step, pixels in enumerate(np.array_split(order, 64)):
            labels[pixels] = step
        order = np.arange(64)
    else:
        # The image is 3 x 5 visual tokens.
        rows, columns = np.arange(90) * 3 // 90, np.arange(150) * 5 // 150
        labels = rows[:, None] * 5 + columns
        means = [saliency[labels == one].mean() for one in range(15)]
        order = np.argsort(-np.round(means, 6), kind="stable")
    case = ask(
        model,
        attribution.image,
        PROMPT,
        answer="Yes, a cat.",
        target="cat",
        regions=labels.reshape(90, 150).astype(np.int32),
        fill="mean",
    )
    curves = curves_along(case.scorer, order.astype(np.int32))
    sizes = np.bincount(labels.ravel())[order] / labels.size
    shown = curves.insertion.mean(axis=1, dtype=np.float64)
    expected = float((sizes * (shown[1:] + shown[:-1]) / 2).sum())
    assert values["insertion"] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"methods": ("eagle", "shap")}, "method is 'shap'"),
        ({"methods": ("tam", "tam")}, "name at least one method, each once"),
        ({"granularity": "word"}, "granularity is 'word'; it must be one of region, pixel"),
        ({"fill": "white"}, "fill of the judging is 'white'"),
        ({"settings": Settings(options={"samples": 4})}, "options belong to one method"),
    ],
)
def test_nothing_is_written_for_what_cannot_be_used(changed, message, entries, tmp_path):
    arguments = {"settings": Settings(), "methods": METHODS} | changed
    with pytest.raises(InputError, match=message):
        compare_methods(entries, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_command_compares_on_a_list_that_it_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # The compilation cache is a setting of the whole process.
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    command = ["compare", "storybook:colours:2", "--regions", "grid:2x2", "--out", "c"]
    assert cli.main([*command, "--methods", "eagle,random", "--search", "exact"]) == 0
    page = capsys.readouterr().out
    assert "word: insertion, region, black (higher is better)" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "c-colours-2"]
    assert len(read_list("c-colours-2/colours.jsonl")) == 2
    results = sorted((tmp_path / "c" / "eagle" / "items").iterdir())
    assert [Attribution.load(one).search for one in results] == ["exact", "exact"]


def test_voronoi_cells_hold_the_pixels_nearest_to_a_point():
    image = np.zeros((20, 30, 3), np.uint8)
    labels = judging._voronoi(image, 5)
    points = np.random.default_rng(0).random((5, 2)) * (20, 30)
    centres = np.stack(np.meshgrid(np.arange(20), np.arange(30), indexing="ij"), -1) + 0.5
    nearest = ((centres[:, :, None] - points) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(
        labels, np.unique(nearest, return_inverse=True)[1].reshape(20, 30)
    )


def test_a_method_is_named_with_its_options():
    assert method_with_options("rise") == ("rise", {})
    named = method_with_options("rise@samples=256,variant=paper")
    assert named == ("rise", {"samples": 256, "variant": "paper"})
    with pytest.raises(InputError, match="'samples' does not have the form NAME=VALUE"):
        method_with_options("rise@samples")
