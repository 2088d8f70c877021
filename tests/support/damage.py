"""Damage to files as people have them, the same for the same seed.

`damaged_value` changes a few places of a JSON value; `written` writes it as other programs do;
`damaged_bytes` damages a file whatever it holds. Tests try a fixed number of seeds;
EAGLE_JAX_DAMAGED=10 tries ten times as many.
"""

import codecs
import contextlib
import copy
import json
import math
import os
import random
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11421896\n"
# Values that a field may have by mistake.
ODD = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, 1.0, 2.0, -0.5, 1e-30, 1e30, 10**9, 10**30),
    *(math.nan, math.inf, -math.inf, "", " ", "0", "1", "null", "x", "none", "default"),
    *("word " * 100, "\0", "\ud800", "line\nline", "\x1b[31m", "\N{SNOWMAN}"),
    *([], {}, [[]], [None], [1], [1, 2, 3], [0.5, 0.5, 0.5], ["a"], {"a": None}, {"a": {}}),
    *([10**30], {"": 1}, [{}], [[1, 2], [3, 4]], {"content": "x"}),
)
_NAMES = ("", " ", "x" * 300, "\n", "\x1b[31m", "\N{SNOWMAN}", "extra_field", "type", "id")
Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The path of every value within a JSON value, of at most three entries of each list."""
    if isinstance(value, dict):
        inner = [*value.items()]
    else:
        inner = [*enumerate(value)][:3] if isinstance(value, list) else []
    for name, part in inner:
        yield (*path, name)
        yield from places(part, (*path, name))


def damaged_value(
    rng: random.Random, value: Any, renames: Sequence[tuple[str, str]] = ()
) -> tuple[Any, str]:
    """A JSON value with one to three changes, and what was changed.

    Args:
        rng: Source of the choices.
        value: The value; it is not changed.
        renames: Pairs of names for the same field, of which either may become the other.
    """
    value, said = copy.deepcopy(value), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        paths = [*places(value)]
        if not paths:
            break
        named = [path for path in paths if any(path[-1] in pair for pair in renames)]
        path = rng.choice(named if named and rng.random() < 0.3 else paths)
        holder = value
        for name in path[:-1]:
            holder = holder[name]
        said.append(f"{_change(rng, value, holder, path[-1], renames)} {path}")
    return value, "; ".join(said)


def _change(rng: random.Random, root: Any, holder: Any, name: Any, renames) -> str:
    old = holder[name]
    others = [b if name == a else a for a, b in renames if name in (a, b)]
    if others and rng.random() < 0.5 and isinstance(holder, dict):
        new = rng.choice(others)
        holder[new] = holder.pop(name)
        return f"renamed to {new}"
    kind = rng.choice(
        ("remove", "null", "odd", "odd", "odd", "near", "near", "move", "swap", "name")
    )
    if kind == "remove":
        del holder[name]
    elif kind == "null":
        holder[name] = None
    elif kind == "odd":
        holder[name] = copy.deepcopy(rng.choice(ODD))
    elif kind == "near":
        holder[name] = _near(rng, old)
    elif kind == "name" and isinstance(holder, dict):
        holder[rng.choice(_NAMES)] = holder.pop(name)
    elif kind == "swap":
        other = rng.choice([*places(root)])
        source = root
        for part in other:
            source = source[part]
        holder[name] = copy.deepcopy(source)
        kind = f"value of {other} in"
    elif isinstance(root, dict):
        sections = [part for part in root.values() if isinstance(part, dict)] + [root]
        target = rng.choice(sections)
        del holder[name]
        target[str(name)] = old
    return kind


def _near(rng: random.Random, value: Any) -> Any:
    """A value that is nearly right: of another type, doubled, wrapped, in other case."""
    options: list[Any] = [[value], {"value": value}, str(value)]
    if isinstance(value, bool):
        options += [not value, int(value), str(value).lower()]
    elif isinstance(value, int | float):
        options += [value * 2, value + 1, -value, float(value), str(value)]
        options += [value // 2, [value, value]]
    elif isinstance(value, str):
        options += [value + value, value.upper(), value + "Fast", value + " ", value[:-1]]
    elif isinstance(value, list):
        options += [value + value, value[:-1], value[::-1], *value[:1]]
        options += [dict(enumerate(map(str, value)))]
    elif isinstance(value, dict):
        options += [[*value.items()], [*value.values()], {**value, "extra_field": 1}]
        options += [json.dumps(value, default=str)]
    return copy.deepcopy(rng.choice(options))


def written(rng: random.Random, value: Any) -> bytes:
    """JSON as text, mostly plain and sometimes as other programs write it."""
    text = json.dumps(value, indent=rng.choice((None, 2)), default=str)
    data = text.encode()
    if rng.random() < 0.9:
        return data
    kind = rng.choice(("bom", "crlf", "twice", "comment", "utf-16", "comma"))
    if kind == "bom":
        return codecs.BOM_UTF8 + data
    if kind == "crlf":
        return text.replace("\n", "\r\n").encode()
    if kind == "twice" and isinstance(value, dict) and value:
        name = next(iter(value))
        return f"{text.rstrip()[:-1]}, {json.dumps(name)}: {json.dumps(value[name])}}}".encode()
    if kind == "comment":
        return b"// comment\n" + data
    if kind == "utf-16":
        return text.encode("utf-16")
    return data.rstrip()[:-1] + b"," + data.rstrip()[-1:]


def damaged_bytes(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """The content of a file after an accident, and which."""
    at = rng.randrange(len(data) + 1)
    kinds = {
        "empty": lambda: b"",
        "truncated": lambda: data[:at],
        "half": lambda: data[: len(data) // 2],
        "last byte missing": lambda: data[:-1],
        "pointer": lambda: POINTER,
        "zeros": lambda: bytes(len(data)),
        "byte flipped": lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        "bytes flipped": lambda: _flipped(rng, data),
        "doubled": lambda: data + data,
        "NUL inside": lambda: data[:at] + b"\0" + data[at:],
        "nested": lambda: b"[" * 100_000,
        "page": lambda: b"<!DOCTYPE html><html>404</html>",
        "list": lambda: b"[1, 2]",
        "text": lambda: b'"text"',
        "null": lambda: b"null",
        "UTF-16": lambda: data.decode("utf-8", "replace").encode("utf-16"),
        "Latin-1": lambda: data[:at] + b"\xe4\xff" + data[at:],
        "BOM": lambda: codecs.BOM_UTF8 + data,
        "CRLF": lambda: data.replace(b"\n", b"\r\n"),
        "number": lambda: b'{"a": ' + b"9" * 5000 + b"}",
    }
    kind = rng.choice([*kinds])
    return kinds[kind](), kind


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((2, 5, 20)) if data else 0):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def replace_file(rng: random.Random, path: Path) -> str | None:
    """Removes a file or puts something else in its place; None where nothing was done."""
    kind = rng.choice(("removed", "a folder", "a dangling link", "", "", "", ""))
    if not kind:
        return None
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a dangling link":
        path.symlink_to(path.with_name("absent"))
    return kind


def link_folder(source: Path, folder: Path) -> Path:
    """A folder whose files are those of another, by hard links: never write into them."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            (folder / path.name).hardlink_to(path)
        else:
            shutil.copytree(path, folder / path.name)
    return folder


def set_file(path: Path, data: bytes) -> None:
    """Writes a file of a linked folder without changing the file that it is linked to."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def require_line(error: BaseException, *names: object) -> str:
    """Asserts that an error is one for people: one short line that any terminal can print.

    Args:
        error: What was raised.
        names: Paths in the message that do not count for its length.
    """
    if not isinstance(error, InputError):
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    text = str(error)
    assert text.isprintable(), f"not printable: {text!r}"
    text.encode("utf-8")
    for name in names:
        text = text.replace(str(name), "")
    problem = text.split(";")[0]
    assert len(problem) <= 200, f"{len(problem)} characters: {text}"
    return text


def seeds(count: int) -> range:
    """Seeds of damaged files; EAGLE_JAX_DAMAGED multiplies their number."""
    return range(round(count * float(os.environ.get("EAGLE_JAX_DAMAGED", 1))))


def blocks(count: int, size: int = 50) -> list[range]:
    """The seeds in blocks, a test for each."""
    every = seeds(count)
    return [every[first : first + size] for first in range(0, len(every), size)]


@contextlib.contextmanager
def quietly(capture: Any) -> Iterator[None]:
    """Asserts that nothing is printed and no warning is shown within the block."""
    capture.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    printed = "".join(capture.readouterr())
    lines = [line for line in printed.splitlines() if not line.startswith(_LIBRARIES)]
    assert not lines, f"printed: {lines}"


# What tokenizers and libtiff, which are not written in Python, print themselves.
_LIBRARIES = ("Ignored unknown kwarg", "tempfile.tif:", "_TIFF", "ZIPDecode:", "LZWDecode:")
