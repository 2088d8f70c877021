"""Arguments of a wrong type: one line, never a traceback of the insides or another meaning."""

import dataclasses
import inspect
import os
from pathlib import Path
from types import FunctionType

import jax.numpy as jnp
import numpy as np
import pytest

import eagle_jax
from eagle_jax.argument_types import checked, checked_argument
from eagle_jax.errors import InputError
from eagle_jax.scoring.case import ask
from eagle_jax.search.sets import curves_along

FUNCTIONS = {
    name: getattr(eagle_jax, name)
    for name in eagle_jax._HOMES
    if isinstance(getattr(eagle_jax, name), FunctionType)
}
# None of these is what any public function takes anywhere.
WRONG = [b"bytes", object(), "\ud800", float("nan"), {1: 2}, [b"x"]]
MODEL = "<class 'eagle_jax.scoring.model.Model'>"


@pytest.mark.parametrize("name", [*FUNCTIONS])
def test_every_public_function_answers_a_wrong_type_in_one_line(name):
    parameters = [*inspect.signature(FUNCTIONS[name]).parameters.values()]
    refused = 0
    for wrong in WRONG:
        # The first argument is checked first; all others are checked before anything runs.
        given = [wrong for one in parameters if one.default is one.empty]
        for one in parameters:
            if one.name in ("self", "announce"):
                continue
            try:
                checked_argument(one.name, wrong, one.annotation)
            except InputError as error:
                refused += 1
                assert str(error).startswith(f"{one.name} is ")
                assert "\n" not in str(error) and len(str(error)) <= 200
        if given:
            with pytest.raises(InputError, match=rf"^{parameters[0].name} is "):
                FUNCTIONS[name](*given)
    assert refused >= 4 * len(parameters)


@pytest.mark.parametrize(
    ("annotation", "fits", "wrong"),
    [
        (int, [3, np.int64(3), np.array(3)], [True, np.True_, 3.0, "3", None, 2**40]),
        (float, [3, 0.5, np.float32(0.5), np.int64(2)], [True, "0.5", float("nan"), None, 1j]),
        (bool, [True, np.False_], [1, 0, "yes", None]),
        (str, ["a", "\N{GREEK SMALL LETTER ALPHA}", np.str_("a")], [b"a", 1, "\udcff", ["a"]]),
        (str | None, ["a", None], [b"a", 0, False]),
        (str | os.PathLike, ["a", Path("a"), "\udcff"], [b"a", 1, "a\0b", "\ud800", None]),
        (Path, ["a", Path("a")], [b"a", 1]),
        (int | str | np.ndarray, [np.int32(4), "grid:2x2", np.eye(2)], [True, 4.0, [4]]),
        (eagle_jax.Model, [], ["demo", None, eagle_jax.Model]),
        (tuple[int, int], [(0, 1), [np.int64(0), 1]], [(0,), (0, 1, 2), ("0", "1"), 0, "01"]),
    ],
)  # fmt: skip
def test_what_an_annotation_allows(annotation, fits, wrong):
    for value in fits:
        found = checked_argument("x", value, annotation)
        assert not isinstance(found, np.generic) or isinstance(found, str)
        assert isinstance(found, Path) or np.array_equal(found, value)
    for value in wrong:
        with pytest.raises(InputError, match="^x is .*; it must be "):
            checked_argument("x", value, annotation)


def test_sequences_and_mappings_are_looked_into():
    parameters = inspect.signature(eagle_jax.compare_methods).parameters
    methods = parameters["methods"].annotation
    assert checked_argument("methods", ["eagle"], methods) == ["eagle"]
    for wrong in ("eagle,tam", [b"eagle"], [None], b"eagle", 3):
        with pytest.raises(InputError, match="a sequence of text"):
            checked_argument("methods", wrong, methods)
    options = inspect.signature(eagle_jax.explain).parameters["options"].annotation
    found = checked_argument("options", {"samples": np.int64(3), "x": True}, options)
    assert found == {"samples": 3, "x": True} and type(found["samples"]) is int
    for wrong in ({"samples": b"3"}, {1: 2}, [("samples", 3)]):
        with pytest.raises(InputError, match="^options is "):
            checked_argument("options", wrong, options)


def test_arrays_have_their_kind_of_numbers():
    order = inspect.signature(curves_along).parameters["order"].annotation
    for fits in (np.arange(3, dtype=np.int32), jnp.arange(3), [2, 0, 1]):
        checked_argument("order", fits, order)
    for wrong in (np.ones(3, bool), np.ones(3), "210", b"210", ["a"], [[1], [2, 3]], 3, None):
        with pytest.raises(InputError, match="an array of whole numbers"):
            checked_argument("order", wrong, order)


def test_settings_are_checked_and_scalars_of_numpy_can_be_stored():
    # In the tests, beartype checks the arguments before the settings can.
    settings = dataclasses.replace(eagle_jax.Settings())
    given = {"budget": np.int64(7), "stop": np.float32(0.5)}
    vars(settings).update(given)
    settings.__post_init__()
    assert dataclasses.asdict(settings)["budget"] == 7 and type(settings.budget) is int
    assert type(settings.stop) is float
    for wrong in ({"model": b"demo"}, {"budget": True}, {"regions": 4.0}, {"controls": "2"}):
        with pytest.raises(InputError, match=f"^{[*wrong][0]} is "):
            vars(settings).update(vars(eagle_jax.Settings()) | wrong)
            settings.__post_init__()


def test_too_few_and_too_many_arguments_are_python_s_to_name():
    @checked
    def double(x: int, *, twice: bool = False) -> int:
        """Doubles."""
        return x * (4 if twice else 2)

    assert double(np.int64(3)) == 6 and double(x=3, twice=np.True_) == 12
    for wrong in (lambda: double(), lambda: double(1, 2), lambda: double(1, thrice=True)):  # pyright: ignore
        with pytest.raises(TypeError, match="double"):
            wrong()
    assert ask.__doc__ and inspect.signature(ask).parameters["model"].name == "model"
