"""Arguments of a wrong type: one line, never a traceback of the insides or another meaning."""

import dataclasses
import inspect
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Bool, Float, Int32
from PIL import Image

from eagle_jax.argument_types.checking import checked
from eagle_jax.argument_types.rules import rule_for
from eagle_jax.argument_types.values import Unfit
from eagle_jax.errors import InputError

SUPPORT = Path(__file__).parents[1] / "support"


def test_every_public_function_answers_every_wrong_argument_in_one_line():
    # A process of its own, without the checks at run time that the tests have.
    answered = subprocess.run(
        [sys.executable, SUPPORT / "wrong_arguments.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SUPPORT), "JAX_PLATFORMS": "cpu"},
    )
    assert (answered.returncode, answered.stdout.strip()) == (0, ""), answered.stderr[-2000:]


@pytest.mark.parametrize(
    ("hint", "fits", "wrong"),
    [
        (int, [3, 3.0, np.int64(3), np.array(3)], [True, np.True_, 0.5, "3", None, 1j, b"3"]),
        (float, [3, 0.5, np.float32(0.5), np.inf], [True, "0.5", np.nan, None, 1j, 10**400]),
        (bool, [True, np.False_, 1, 0], [2, "yes", None, 0.5, np.ones(1)]),
        (str, ["a", "\N{GREEK SMALL LETTER ALPHA}", np.str_("a")], [b"a", 1, "\udcff", ["a"]]),
        (str | None, ["a", None], [b"a", 0, False]),
        (str | os.PathLike, ["a", Path("a"), "\udcff"], [b"a", 1, "a\0b", "\ud800", None]),
        (Path, ["a", Path("a")], [b"a", 1, None]),
        (int | str | np.ndarray, [np.int32(4), "grid:2x2", np.eye(2)], [True, 4.5, [4]]),
        (Image.Image | np.ndarray, [np.eye(2), jnp.eye(2)], [b"GIF", None, np.float64(2)]),
        (tuple[int, int], [(0, 1), [np.int64(0), 1]], [(0,), (0, 1, 2), ("0", "1"), 0, "01"]),
        (Sequence[str], [["a"], ("a",), {"a": 1}.keys()], ["a", b"a", [b"a"], {"a": 1}, None]),
        (Iterable[int], [[1], (i for i in [1])], ["1", 1, ["1"], {1: 2}]),
        (Int32[np.ndarray, "k"], [np.arange(2), [1, 0], jnp.arange(2)], ["01", [[1]], 3]),
        (Bool[np.ndarray, "b n"], [[[True]]], [[[1]], [True], None, [[True], [True, True]]]),
        (Float[jax.Array, "*b t"], [[0.5], jnp.ones((1, 2), jnp.bfloat16)], [0.5, [1j], ["a"]]),
    ],
)  # fmt: skip
def test_what_an_annotation_allows(hint, fits, wrong):
    rule = rule_for(hint)
    for value in fits:
        taken = rule.take(value)
        assert not isinstance(taken, np.number | np.bool_)
        assert isinstance(taken, Path | list) or np.array_equal(taken, value)
    for value in wrong:
        with pytest.raises(Unfit):
            rule.take(value)


def test_numbers_keep_their_type_where_several_are_allowed():
    rule = rule_for(Mapping[str, str | int | float | bool | None], record=True)
    given = {"a": 1, "b": 2.0, "c": np.float32(0.5), "d": np.int8(3), "e": True, "f": None}
    taken = rule.take(given)
    assert taken == given
    assert [type(value) for value in taken.values()] == [
        int,
        float,
        float,
        int,
        bool,
        type(None),
    ]


@checked
def scale(
    values: Sequence[float],
    by: int = 1,
    *,
    area: Float[np.ndarray, "n"] | None = None,
    curve: Float[np.ndarray, "*b n"] | None = None,
) -> list[float]:
    """Scales."""
    return [value * by for value in values]


def test_a_message_names_the_element_and_what_it_must_be():
    for arguments, message in (
        (("ab",), "values is 'ab' (str); it must be a sequence, each element a number"),
        (((1, None),), "values[1] is None; it must be a number"),
        (([1], b"2"), "by is b'2' (bytes); it must be a whole number"),
    ):
        with pytest.raises(InputError) as caught:
            scale(*arguments)
        assert str(caught.value) == message


def test_axes_of_one_name_have_one_length():
    assert scale([1], 2, area=np.ones(3), curve=np.ones((2, 3))) == [2]
    with pytest.raises(
        InputError, match=r"curve has the shape \(2, 4\); its axis -1 must have 3"
    ):
        scale([1], area=np.ones(3), curve=np.ones((2, 4)))


def test_what_is_decorated_looks_as_before_and_python_counts_its_arguments():
    assert scale.__doc__ == "Scales." and [*inspect.signature(scale).parameters][:2] == [
        "values",
        "by",
    ]
    for wrong in (lambda: scale(), lambda: scale([1], 2, 3), lambda: scale([1], other=1)):
        with pytest.raises(TypeError, match="scale"):
            wrong()


def test_classes_are_checked_and_keep_any_text():
    @checked
    class Pair(NamedTuple):
        first: int
        second: str = "x"

    @checked
    @dataclasses.dataclass(frozen=True)
    class Record:
        path: Path
        pairs: tuple[Pair, ...] = ()

    assert Pair(np.int64(3), "\ud800")._replace(first=4) == (4, "\ud800")
    record = Record("a", [Pair(1)])  # pyright: ignore
    assert record == Record(Path("a"), (Pair(1),))
    assert dataclasses.replace(record, path=Path("b")).path == Path("b")
    for wrong in (lambda: Pair("1"), lambda: Record(b"a"), lambda: Record("a", [3])):  # pyright: ignore
        with pytest.raises(InputError, match="; it must be "):
            wrong()
