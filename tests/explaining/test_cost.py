"""What is said before a search that will take more than a minute."""

import re

import numpy as np
import pytest
from tiny_checkpoints import make_qwen2_5_vl
from tiny_llava import make_llava

import eagle_jax
from eagle_jax.explaining import cost
from eagle_jax.explaining.explanation import Approach
from eagle_jax.search import Limits

IMAGE = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)


def ask(folder, regions="grid:8x8", **bounds):
    model = eagle_jax.load(folder, **bounds)
    return eagle_jax.ask(model, IMAGE, "What is this?", answer="Yes", regions=regions)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return ask(make_qwen2_5_vl(tmp_path_factory.mktemp("qwen") / "model"), max_pixels=10**6)


@pytest.fixture
def slow(monkeypatch):
    """As if each forward took ten seconds."""
    monkeypatch.setattr(cost, "_slow_rate", lambda: 1.0)
    monkeypatch.setattr(cost, "_seconds_per_forward", lambda case: 10.0)
    monkeypatch.setattr(cost, "_FEWER_TOKENS", (64, 16))


def said(case, capsys, **approach):
    cost.announce_cost(case, Approach(**approach))
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") <= 1
    return err


def test_a_short_search_is_not_even_timed(case, capsys, monkeypatch):
    monkeypatch.setattr(cost, "_seconds_per_forward", None)
    monkeypatch.setattr(cost, "_slow_rate", lambda: 1e15)
    assert said(case, capsys) == ""


def test_a_long_search_says_its_cost_in_one_line(case, capsys, slow):
    line = said(case, capsys, search="exact")
    assert re.fullmatch(
        r"about 256 visual tokens per masked image, 4,160 forwards, about 12 h on this "
        r"machine; --max-pixels 50176 takes about \d+ (min|h)\n",
        line,
    )
    assert " 512 forwards, about 85 min " in said(case, capsys)
    assert " 130 forwards, " in said(case, capsys, search="exact", limits=Limits(budget=130))


def test_nothing_is_said_where_the_user_bounds_the_time_or_the_method_has_no_search(
    case, capsys, slow
):
    assert said(case, capsys, limits=Limits(seconds=600.0)) == ""
    assert said(case, capsys, method="random") == ""


def test_other_families_are_told_of_seconds(tmp_path, capsys, slow):
    line = said(ask(make_llava(tmp_path / "model")), capsys, search="exact")
    assert line.endswith("; --seconds S stops it after S seconds with a partial result\n")


def test_python_says_it_with_progress_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost, "_slow_rate", lambda: 1.0)
    monkeypatch.setattr(cost, "_LONG", 0.0)
    case = ask(make_qwen2_5_vl(tmp_path / "model"), "grid:1x2", max_pixels=4000)
    eagle_jax.explain(case, progress=True)
    assert "on this machine" in capsys.readouterr().err
    eagle_jax.explain(case)
    assert capsys.readouterr().err == ""
