"""Any method through the front door: explanations, runs and the command line."""

import json
import signal

import numpy as np
import pytest
from PIL import Image

import eagle_jax
from eagle_jax import Attribution, InputError, Settings
from eagle_jax.baselines.maps import Heat
from eagle_jax.cli import main
from eagle_jax.explaining import run_list
from eagle_jax.lists import read_list

PROMPT, ANSWER = "Is there a cat in the image?", "Yes, a cat."


@pytest.fixture(scope="module")
def case(untied, make_image):
    model = eagle_jax.load(untied)
    return eagle_jax.ask(
        model, make_image(1, 56, 56), PROMPT, answer=ANSWER, target="cat", regions="grid:2x2"
    )


@pytest.fixture
def list_of_one(tmp_path, make_image):
    Image.fromarray(make_image(1, 56, 56)).save(tmp_path / "cat.png")
    line = {"image": "cat.png", "prompt": PROMPT, "answer": ANSWER, "target": "cat"}
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "list.jsonl"


def test_an_explanation_holds_the_map_and_what_the_method_was_told(case, tmp_path):
    found = eagle_jax.explain(case, method="lime", options={"samples": 40})
    assert (found.method, found.options) == ("lime", {"samples": 40, "seed": 0})
    assert found.search == "lime" and found.forwards == 40 + 2 * 4
    by_region = found.heat[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_array_equal(np.argsort(-by_region, kind="stable"), found.order)
    np.testing.assert_array_equal(found.saliency.argmax(), found.heat.argmax())
    curves = eagle_jax.curves_along(case.scorer, found.order)
    np.testing.assert_array_equal(found.insertion, curves.insertion)
    np.testing.assert_array_equal(found.deletion, curves.deletion)
    found.save(tmp_path / "found")
    assert Attribution.load(tmp_path / "found") == found


def test_methods_say_what_they_need():
    methods = eagle_jax.methods()
    assert [*methods][0] == "eagle" and len(methods) == 13
    weights = {name for name, one in methods.items() if one.needs == "weights"}
    assert weights == {
        *("llava-cam", "igos++", "tam", "integrated-gradients", "rollout", "relevance")
    }
    assert methods["kernelshap"].options == {"samples": 2048, "seed": 0}
    assert methods["eagle"].options == methods["leave-one-out"].options == {}


@pytest.mark.parametrize(
    "told, message",
    [
        ({"method": "shap"}, "method is 'shap'; it must be one of eagle, llava-cam"),
        ({"method": "lime", "options": {"depth": 1}}, "lime has no option 'depth'"),
        ({"options": {"samples": 9}}, "eagle has no option 'samples'; it has no options"),
        (
            {"method": "rise", "budget": 99},
            "budget limits the searches of eagle; the cost of rise",
        ),
    ],
)
def test_what_is_unknown_is_refused_before_the_model_is_asked(told, message, case):
    with pytest.raises(InputError, match=message):
        eagle_jax.explain(case.model, "no such picture.png", PROMPT, **told)


def by_brightness(case, *, sign=1):
    """How bright each region is."""
    pixels = case.image.mean(axis=2)
    return sign * np.array([pixels[case.labels == r].mean() for r in range(4)])


def brightness_map(case):
    return case.image.mean(axis=2)


def test_a_method_of_ones_own_gives_scores_or_a_map(case, tmp_path):
    found = eagle_jax.explain(case, method=by_brightness, options={"sign": -1})
    assert (found.method, found.options) == ("by_brightness", {"sign": -1})
    scores = by_brightness(case)
    np.testing.assert_array_equal(found.order, np.argsort(scores, kind="stable"))
    np.testing.assert_allclose(found.heat, -scores[case.labels], rtol=1e-6)
    curves = eagle_jax.curves_along(case.scorer, found.order)
    np.testing.assert_array_equal(found.insertion, curves.insertion)
    assert (found.forwards, found.backwards) == (2 * 4, 0)
    found.save(tmp_path / "found")
    assert Attribution.load(tmp_path / "found") == found

    mapped = eagle_jax.explain(case, method=brightness_map)
    np.testing.assert_array_equal(mapped.order, found.order[::-1])
    np.testing.assert_allclose(mapped.heat, case.image.mean(axis=2), rtol=1e-6)
    costly = eagle_jax.explain(case, method=lambda case: Heat(mapped.heat, 7, 2))
    np.testing.assert_array_equal(costly.order, mapped.order)
    assert (costly.method, costly.forwards, costly.backwards) == ("<lambda>", 7 + 8, 2)


def test_a_method_value_is_the_method(case):
    lime = eagle_jax.methods()["lime"]
    by_value = eagle_jax.explain(case, method=lime, options={"samples": 40})
    by_name = eagle_jax.explain(case, method="lime", options={"samples": 40})
    assert by_value.method == "lime" and by_value.options == by_name.options
    np.testing.assert_array_equal(by_value.heat, by_name.heat)
    eagle = eagle_jax.explain(case, method=eagle_jax.methods()["eagle"])
    assert (eagle.method, eagle.search) == ("eagle", "exact")


@pytest.mark.parametrize(
    "own", [lambda case: np.zeros(3), lambda case: np.full(4, np.nan), lambda case: case.image]
)
def test_a_method_of_ones_own_that_gives_neither_is_refused(own, case):
    with pytest.raises(InputError, match=r"must return 4 finite scores, .* shape \(56, 56\)"):
        eagle_jax.explain(case, method=own)


def test_a_method_of_ones_own_has_the_options_of_its_keywords(case):
    with pytest.raises(InputError, match="by_brightness has no option 'depth'; it has sign"):
        eagle_jax.explain(case, method=by_brightness, options={"depth": 1})


def test_a_run_takes_a_method_and_keeps_to_it(case, untied, list_of_one, tmp_path):
    entries, out = read_list(list_of_one), tmp_path / "out"
    told = {"model": str(untied), "regions": "grid:2x2", "options": {"samples": 40}}
    report = run_list(entries, out, Settings(method="lime", **told))
    assert report.finished == 1 and report.forwards == 40 + 2 * 4
    (folder,) = (out / "items").iterdir()
    found = Attribution.load(folder)
    alone = eagle_jax.explain(case, method="lime", options={"samples": 40})
    np.testing.assert_array_equal(found.order, alone.order)
    np.testing.assert_allclose(found.heat, alone.heat, rtol=0, atol=1e-5)
    assert (found.method, found.options) == ("lime", alone.options)
    with pytest.raises(InputError, match="begun with method 'lime', now 'rise'"):
        run_list(entries, out, Settings(method="rise", **told))
    with pytest.raises(InputError, match="rise has no option 'depth'"):
        run_list(entries, tmp_path / "new", Settings(method="rise", options={"depth": 1}))
    assert not (tmp_path / "new").exists()


def test_the_command_line_refuses_options_in_one_line(tmp_path, capsys):
    arguments = ["explain", "--method", "tam", "--option", "samples=5"]
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error == "eagle-jax: tam has no option 'samples'; it has variant\n"
    assert not (tmp_path / "new").exists()


def test_an_interrupt_ends_a_method_that_has_nothing_to_show_yet(case, monkeypatch):
    def interrupt(self, visible):
        signal.raise_signal(signal.SIGINT)
        return np.zeros((len(visible), 1), np.float32)

    monkeypatch.setattr(type(case.scorer), "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        eagle_jax.explain(case, method="leave-one-out")
