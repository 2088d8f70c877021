"""Saved attributions and runs, with damage to one of their files."""

import functools
import hashlib
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import damage
import made_results
import numpy as np
from made_attributions import made_attribution
from PIL import Image

from eagle_jax.results import storage
from eagle_jax.results.manifest import Settings, begin_run

_RENAMES = (
    *(("positions", "target"), ("tokens", "answer_tokens"), ("token_ids", "targets")),
    *(("schema", "version"), ("settings", "options"), ("prompt", "question")),
    *(("label", "answer"), ("boxes", "polygons"), ("search", "method")),
)
_NAMES = ("kite-0", "question-1")


class Case(NamedTuple):
    """A run with damage.

    Attributes:
        out: Folder of the run.
        name: Name of the damaged item.
        file: Name of the damaged file.
        said: What was damaged.
    """

    out: Path
    name: str
    file: str
    said: str


@functools.cache
def base(root: Path) -> Path:
    """A run of a caption with a mask and a question with answers; in it a diagnosis, too."""
    made = made_results
    results = [
        made.made_result("kite-0", "word", controls=2),
        made.made_result("question-1", "presence", answers=made.corrected_from(3)),
    ]
    with begin_run(root, Settings(), "0123456789abcdef"):
        made.write_run(root, results)
    (root / "failures").mkdir()
    attribution = made_attribution(answer=made.ANSWER, positions=[0])
    attribution.save(root / "diagnosis")
    texts = [*["Yes."] * attribution.order.size, "No."]
    answers = {"label": "No", "after": "No.", "answers": texts}
    (root / "diagnosis" / "answers.json").write_text(json.dumps(answers))
    record = {"name": "third", "place": "line 3", "reason": "no such image file"}
    (root / "failures" / "third.json").write_text(json.dumps(record))
    return root


def make_case(seed: int, root: Path) -> Case:
    """The damaged run of a seed, with files linked to those of `base`."""
    rng = random.Random(f"result {seed}")
    whole, out = base(root / "base"), root / f"run-{seed}"
    name = rng.choice(_NAMES)
    shutil.copytree(whole, out, copy_function=_link)
    files = sorted(path for path in (out / "items" / name).iterdir())
    records = [path for path in files if path.suffix == ".json"] * 3
    records += [out / "manifest.json", out / "failures/third.json"]
    path = rng.choice([*files, *records, out / "diagnosis/answers.json"])
    return Case(out, name, path.name, _damage(rng, path))


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _damage(rng: random.Random, path: Path) -> str:
    if rng.random() < 0.1 and (said := damage.replace_file(rng, path)):
        return said
    data, sealed = path.read_bytes(), rng.random() < 0.75
    if path.suffix == ".json" and rng.random() < 0.8:
        value, said = damage.damaged_value(rng, json.loads(data), _RENAMES)
        if rng.random() < 0.15 and isinstance(value, dict):
            value["schema"] = rng.choice((0, 1, 2, 3, 4, 99, "3", None, True, [3], 3.0))
            said = f"{said}; schema {value['schema']!r}"
        if path.name == storage.RECORD and sealed and _seal(value):
            said = f"{said}; sealed"
        data = json.dumps(value, default=str).encode()
    elif path.suffix == ".npz" and rng.random() < 0.8:
        data, said = _damaged_arrays(rng, data)
    elif path.suffix == ".png" and rng.random() < 0.6:
        data, said = _other_image(rng)
    else:
        data, said = damage.damaged_bytes(rng, data)
    damage.set_file(path, data)
    if path.name == storage.ARRAYS and sealed:
        record = json.loads((path.parent / storage.RECORD).read_bytes())
        record["sha256"][path.name] = hashlib.sha256(data).hexdigest()
        _seal(record)
        damage.set_file(path.parent / storage.RECORD, json.dumps(record).encode())
        said = f"{said}; sealed"
    return said


def _seal(record: Any) -> bool:
    """Gives a record the digest of its content, as if it had been written so."""
    try:
        record["sha256"][storage.RECORD] = storage._seal(record)
    except (TypeError, LookupError, AttributeError, ValueError):
        return False
    return True


def _damaged_arrays(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    with np.load(io.BytesIO(data)) as held:
        arrays = {name: held[name] for name in held.files}
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    kinds: dict[str, Any] = {
        "removed": None,
        "cut": array[:-1],
        "longer": np.concatenate([array, array[-1:]]),
        "flat": array.reshape(-1),
        "one more axis": array[None],
        "empty": array[:0],
        "number": np.array(1),
        "zeros": np.zeros_like(array),
        "negative": -array - 1,
        "huge": np.full_like(array, 2**31 - 1 if array.dtype.kind == "i" else 1e30),
        "NaN": array.astype(np.float32) * np.nan,
        "float64": array.astype(np.float64),
        "int64": array.astype(np.int64),
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "Fortran": np.asfortranarray(array),
        "texts": array.astype(str),
        "objects": array.astype(object),
        "complex": array.astype(complex),
        "one value": np.full_like(array, array.flat[0]),
        "reversed": array[::-1],
        "extra": array,
        "old name": None,
    }
    kind = rng.choice([*kinds])
    if kinds[kind] is not None:
        arrays[name] = kinds[kind]
    if kind == "extra":
        arrays["extra"] = array
    if kind == "old name":
        arrays["target"] = array
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue(), f"{kind} {name}"


def _other_image(rng: random.Random) -> tuple[bytes, str]:
    mode = rng.choice(("1", "L", "RGB", "RGBA", "P", "I;16"))
    size = rng.choice(((60, 40), (40, 60), (1, 1), (120, 80)))
    stream = io.BytesIO()
    Image.new(mode, size, 1).save(stream, rng.choice(("PNG", "GIF", "TIFF")))
    return stream.getvalue(), f"{mode} {size}"
