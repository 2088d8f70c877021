"""Any method through the front door: explanations, runs and the command line."""

import json
import signal

import numpy as np
import pytest
from PIL import Image

import eagle_jax
from eagle_jax import Attribution, InputError, Settings
from eagle_jax.cli import main
from eagle_jax.lists import read_list
from eagle_jax.run import run_list

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
        ({"method": "rise", "budget": 99}, "budget limits the searches of eagle; rise is told"),
    ],
)
def test_what_is_unknown_is_refused_before_the_model_is_asked(told, message, case):
    with pytest.raises(InputError, match=message):
        eagle_jax.explain(case.model, "no such picture.png", PROMPT, **told)


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
