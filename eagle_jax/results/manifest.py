"""What a run was begun with, so that a resumed one cannot mix two configurations."""

import dataclasses
import datetime
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, one_line
from eagle_jax.files import require_writable
from eagle_jax.models.checkpoints.converted import MARKER
from eagle_jax.models.checkpoints.weights import read_config
from eagle_jax.results.storage import library_versions

MANIFEST = "manifest.json"
_SCHEMA = 1
# Seconds that other processes wait for the first.
_PATIENCE = 300.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every item of a run is explained with.

    Attributes:
      model: "demo", a folder or a hub id, see `eagle_jax.load`.
      dtype: of the weights; None for the checkpoint's.
      quantize: "int8" or None.
      regions: about so many SLICO regions, or a form such as "grid:8x8".
      fill: what is shown in place of hidden regions: "black", "mean", "blur", or the path of an
        image.
      method: a name of `eagle_jax.methods`.
      options: what a method other than EAGLE is told, by name.
      search: name of EAGLE's search.
      budget: most masked images that it scores for an item; None for as many as it takes.
      insight_weight: lambda 1.
      necessity_weight: lambda 2.
      max_new_tokens: limit of an answer the model gives itself.
      regenerate: how the answers to smaller and smaller pictures are found for items with a
        label: "scan" asks with every prefix of the order, "bisect" with few, "no" with none.
      controls: random orders whose curves are scored beside those of the search.
      published_rounding: see `eagle_jax.explain`.
    """

    model: str = "demo"
    dtype: str | None = None
    quantize: str | None = None
    regions: int | str = 64
    fill: str = "black"
    method: str = "eagle"
    options: Mapping[str, str | int | float | bool | None] = dataclasses.field(
        default_factory=dict
    )
    search: str = "auto"
    budget: int | None = None
    insight_weight: float = 1.0
    necessity_weight: float = 1.0
    max_new_tokens: int = 128
    regenerate: str = "scan"
    controls: int = 0
    published_rounding: bool = False


def begin_run(out: Path, settings: Settings, weights: str, process: int = 0) -> None:
    """Makes the folder of a run, or checks that it was begun with the same settings.

    Args:
      out: folder of the run.
      settings: of the run.
      weights: fingerprint of the checkpoint, see `fingerprint`.
      process: number of this process; the first makes the folder, the others wait for it.

    Raises:
      InputError: the folder cannot be written, holds something else, or holds a run with
        other settings.
    """
    require_writable(out.resolve())
    path = out / MANIFEST
    wanted = dataclasses.asdict(settings) | {"weights": weights}
    if path.exists() or process > 0:
        _wait_for(path)
        _require_same(path, wanted)
        return
    # A run that was killed at its very beginning may have left this one.
    partial = out / f".{MANIFEST}"
    if out.is_dir() and any(held != partial for held in out.iterdir()):
        raise InputError(f"{out} holds other files and no {MANIFEST}; choose a new folder")
    record = {
        "schema": _SCHEMA,
        "settings": wanted,
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
    }
    with one_line(f"cannot write {out}", OSError):
        out.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def _wait_for(path: Path) -> None:
    patience = _PATIENCE
    while not path.exists():
        if patience <= 0:
            raise InputError(
                f"{path} does not appear: the first process, which makes it, has not begun"
            )
        time.sleep(0.2)
        patience -= 0.2


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a run: its settings, versions and when it was begun.

    Raises:
      InputError: it is missing or damaged.
    """
    path = out / MANIFEST
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["schema"] != _SCHEMA or not isinstance(record["settings"], dict):
            raise ValueError(f"schema {record['schema']!r}")
    except FileNotFoundError:
        raise InputError(f"{out} holds no run: it has no {MANIFEST}") from None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path} is damaged or from another eagle-jax: {error}") from error
    return record


def fingerprint(folder: Path) -> str:
    """A digest of a checkpoint's configuration and of the names and sizes of its weights.

    Raises:
      InputError: the folder holds no checkpoint.
    """
    digest = hashlib.sha256(json.dumps(read_config(folder), sort_keys=True).encode())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    if (folder / MARKER).is_file():
        digest.update((folder / MARKER).read_bytes())
    return digest.hexdigest()[:16]


def _require_same(path: Path, wanted: dict[str, Any]) -> None:
    # Runs begun before a setting came up had what is its default.
    found = dataclasses.asdict(Settings()) | read_manifest(path.parent)["settings"]
    others = [
        f"{name} {found.get(name)!r}, now {wanted.get(name)!r}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if others:
        raise InputError(
            f"{path.parent} was begun with {'; '.join(others)}: give the same options, or "
            "another folder"
        )
