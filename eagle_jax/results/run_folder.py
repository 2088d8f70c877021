"""Results of a run on disk: one small folder for each item, written all or nothing.

DIR/manifest.json            settings of the run; see `eagle_jax.results.manifest`
DIR/items/NAME/              attribution.json, arrays.npz and
               item.json     the question, its label and boxes, the regenerated answers
               mask.png      the object mask, if the list has one
               controls.npz  curves along control orders, if the run scored them
DIR/failures/NAME.json       why an item has no result; see `eagle_jax.results.failures`
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason
from eagle_jax.files import encoded, json_lines, write_folder
from eagle_jax.lists import entries
from eagle_jax.lists.items import Item
from eagle_jax.lists.masks import read_mask
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.consistency import ROUNDING
from eagle_jax.results.manifest import MANIFEST
from eagle_jax.results.storage import DAMAGE, RECORD, encode, open_arrays, png
from eagle_jax.search.sets import Curves

ITEMS = "items"
ITEM, MASK, CONTROLS = "item.json", "mask.png", "controls.npz"
_PATHS = ("image", "mask")


@checked
class ItemResult(NamedTuple):
    """A finished item.

    Attributes:
      item: the question, its label and boxes.
      attribution: the explanation, without its image.
      mask: object mask; None if the list has none.
      answers: answer k is given with the first k regions visible, k = 0 (blank image) to n
        (full image), None for a k that was not asked; None if answers were not regenerated.
      controls: curves along control orders by name, from `eagle_jax.search.controls`; None
        if they were not scored.
    """

    item: Item
    attribution: Attribution
    mask: Bool[np.ndarray, "H W"] | None = None
    answers: tuple[str | None, ...] | None = None
    controls: dict[str, Curves] | None = None

    def with_image(self) -> Attribution:
        """The explanation with the image of the item.

        Raises:
          InputError: the image cannot be read, or has another size.
        """
        return self.attribution.with_image(self.item.image)


def result_folder(out: Path, name: str) -> Path:
    """Folder of the result of an item."""
    return out / ITEMS / name


def is_finished(out: Path, name: str) -> bool:
    """Whether an item has a result."""
    return (result_folder(out, name) / RECORD).is_file()


def write_result(out: Path, result: ItemResult) -> None:
    """Writes one result, all or nothing.

    Args:
      out: folder of the run.
      result: the finished item.

    Raises:
      InputError: the file system refuses.
    """
    files = encode(vars(result.attribution), image=False)
    record = _to_json(result.item)
    if result.answers is not None:
        record["answers"] = list(result.answers)
    if result.controls is not None:
        record["controls"] = list(result.controls)
        files[CONTROLS] = _encode_controls(result.controls)
    files[ITEM] = json_lines(record)
    if result.mask is not None:
        files[MASK] = png(result.mask)
    write_folder(result_folder(out, result.item.name), files)


def read_result(out: Path, name: str) -> ItemResult:
    """Reads and checks one result.

    Args:
      out: folder of the run.
      name: name of the item.

    Raises:
      InputError: a file of the result is missing or damaged.
    """
    folder = result_folder(out, name)
    attribution = Attribution.load(folder)
    item, answers, names = _read_record(folder / ITEM)
    mask = None
    if (folder / MASK).exists():
        mask = read_mask(folder / MASK, *attribution.labels.shape)
    if answers is not None:
        if len(answers) != attribution.order.size + 1:
            raise InputError(
                f"{folder / ITEM} is damaged: it holds {len(answers)} answers for "
                f"{attribution.order.size} regions, expected {attribution.order.size + 1}"
            )
        answers = tuple(answers)
    controls = None
    if names is not None:
        controls = _read_controls(folder / CONTROLS, names, attribution)
    return ItemResult(item, attribution, mask, answers, controls)


def read_item(out: Path, name: str) -> Item:
    """Reads only the question of a result.

    Raises:
      InputError: the file is missing or damaged.
    """
    return _read_record(result_folder(out, name) / ITEM)[0]


def _read_record(path: Path) -> tuple[Item, list[str | None] | None, list[str] | None]:
    try:
        record = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        answers, controls = record.pop("answers", None), record.pop("controls", None)
        for texts, kind in ((answers, str | None), (controls, str)):
            texts = [] if texts is None else texts
            if not isinstance(texts, list) or not all(isinstance(x, kind) for x in texts):
                raise ValueError("answers and controls must be lists of texts")
        item = _from_json(record)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is missing or damaged: {reason(error, 120)}") from error
    return item, answers, controls


@checked
def read_results(out: Path) -> Iterator[ItemResult]:
    """All results of a run, sorted by name.

    Args:
      out: folder of the run.

    Raises:
      InputError: there is no run, or a result is damaged.
    """
    for name in finished_names(out):
        yield read_result(out, name)


def finished_names(out: Path) -> list[str]:
    """Names of the items that have a result, sorted.

    Raises:
      InputError: the folder holds no run.
    """
    return [name for name in result_names(out) if is_finished(out, name)]


def result_names(out: Path) -> list[str]:
    """Names of the items that have a folder, sorted, finished or not.

    Raises:
      InputError: the folder holds no run.
    """
    folder = out / ITEMS
    if not folder.is_dir():
        if (out / MANIFEST).is_file():
            return []  # all items of the run have failed so far
        raise InputError(f"{out} holds no run: give the --out folder of eagle-jax run")
    # Names that begin with a dot mark folders that are being written.
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _encode_controls(controls: dict[str, Curves]) -> bytes:
    arrays = {
        f"{name}/{field}": array
        for name, curves in controls.items()
        for field, array in curves._asdict().items()
    }
    return encoded(np.savez_compressed, **arrays)


def _read_controls(path: Path, names: list[str], attribution: Attribution) -> dict[str, Curves]:
    try:
        with open_arrays(path.read_bytes()) as arrays:
            controls = {
                name: Curves(*(arrays[f"{name}/{field}"] for field in Curves._fields))
                for name in names
            }
        for name, curves in controls.items():
            regions = np.arange(attribution.order.size)
            whole = curves.order.dtype == np.int32
            if not whole or not np.array_equal(np.sort(curves.order), regions):
                raise ValueError(f"the order of {name!r} must name each region once")
            for curve in (curves.insertion, curves.deletion):
                fits = curve.dtype == np.float32 and curve.shape == attribution.insertion.shape
                if not fits or not ((curve >= 0) & (curve <= 1 + ROUNDING)).all():
                    raise ValueError(f"{name!r} needs one probability per point and token")
    except DAMAGE as error:
        raise InputError(f"{path} is missing or damaged: {reason(error, 120)}") from error
    return controls


def _to_json(item: Item) -> dict[str, Any]:
    record = {
        name: value
        for name, value in dataclasses.asdict(item).items()
        if value is not None and value != ()
    }
    return record | {name: str(record[name]) for name in _PATHS if name in record}


def _from_json(record: dict[str, Any]) -> Item:
    fields = {name: read(record, name) for name, read in _READERS.items() if name in record}
    return Item(**(record | fields))


def _text_or_ids(record: dict[str, Any], name: str) -> str | tuple[int, ...]:
    read = entries.text if isinstance(record[name], str) else entries.token_ids
    return read(record, name)


# How the fields of a question are checked, as in lists.
_READERS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    **dict.fromkeys(("name", "place", "prompt", "category"), entries.text),
    **dict.fromkeys(("image", "mask"), lambda record, name: Path(entries.text(record, name))),
    **dict.fromkeys(("answer", "target"), _text_or_ids),
    **dict.fromkeys(("prompt_ids", "runs"), entries.token_ids),
    "target_ids": entries.ids_or_words,
    "label": entries.yes_or_no,
    "boxes": entries.boxes,
    "polygons": entries.polygons,
    "size": entries.size,
}
