"""The settings of a run on disk, so that a resumed run cannot mix two configurations."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, one_line, reason, shown_value
from eagle_jax.files import require_writable, write_file
from eagle_jax.inputs.fill import DEFAULT_FILL
from eagle_jax.inputs.regions import DEFAULT_REGIONS
from eagle_jax.models.checkpoints.converted import MARKER
from eagle_jax.models.checkpoints.weights import read_config
from eagle_jax.results.storage import library_versions
from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS
from eagle_jax.search.methods import DEFAULT_SEARCH

MANIFEST = "manifest.json"
# Held by a run at work; of several processes, each holds a file of its own as well.
LOCK = ".lock"
_SCHEMA = 1
# Values of `Settings.regenerate`.
REGENERATE = ("scan", "bisect", "no")
# Seconds that the other processes wait for the first process to write the manifest.
_PATIENCE = 300.0


@checked
@dataclasses.dataclass(frozen=True)
class Settings:
    """What every item of a run is explained with.

    Attributes:
      model: "demo", a folder or a hub id, as in `eagle_jax.load`.
      backend: "port" or "bridge", as in `eagle_jax.load`; None for a port where there is one.
      dtype: floating-point type of the weights; None for the checkpoint's.
      quantize: "int8" for int8 weights and activations, or None.
      min_pixels, max_pixels: bounds of the number of pixels that an image is resized to, as in
        `eagle_jax.load`; None for the checkpoint's.
      regions: about this number of SLICO regions, or a form such as "grid:8x8".
      fill: what is shown in place of hidden regions: "black", "mean", "blur", or the path of an
        image.
      partitions: number of partitions of each image, as in `eagle_jax.explain`.
      method: a name of `eagle_jax.methods`.
      options: options of a method other than EAGLE, by name.
      search: name of EAGLE's search, a key of `eagle_jax.search.SEARCHES`.
      budget: largest number of masked images to score for an item; None for no limit.
      seconds: time after which the search of an item ends; None for no limit. It runs while
        other items are explained beside it.
      top_k: number of leading regions to determine exactly; None for all.
      stop: fraction of the full image's score at which an order may end; None for all regions.
      insight_weight: lambda 1 of the paper, weight of sufficiency.
      necessity_weight: lambda 2 of the paper, weight of necessity.
      max_new_tokens: largest number of tokens of an answer that the model generates.
      regenerate: how often items with a label are answered again, with more and more regions
        removed: "scan" after every step of the order, "bisect" at a few steps, by bisection,
        "no" never.
      controls: number of random and of area-matched orders whose curves are scored beside those
        of the explanation.
      published_rounding: round pixels, logits and probabilities as the published code does.
      system: system message in front of each conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.

    Corrections and controls need an order of all regions: an item whose search was cut short by
    a limit then fails.
    """

    model: str = "demo"
    backend: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    regions: int | str = DEFAULT_REGIONS
    partitions: int = 1
    fill: str = DEFAULT_FILL
    method: str = "eagle"
    options: Mapping[str, str | int | float | bool | None] = dataclasses.field(
        default_factory=dict
    )
    search: str = DEFAULT_SEARCH
    budget: int | None = None
    seconds: float | None = None
    top_k: int | None = None
    stop: float | None = None
    insight_weight: float = 1.0
    necessity_weight: float = 1.0
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    regenerate: str = REGENERATE[0]
    controls: int = 0
    published_rounding: bool = False
    system: str | None = None
    thinking: str | None = None


@contextlib.contextmanager
def begin_run(
    out: Path, settings: Settings, weights: str, process: tuple[int, int] = (0, 1)
) -> Iterator[None]:
    """Makes the folder of a run, or checks that it was begun with the same settings.

    No other run can begin in the folder within the block, or while this process lives.

    Args:
      out: folder of the run.
      settings: settings of the run.
      weights: fingerprint of the checkpoint, from `fingerprint`.
      process: index of this process and number of processes; process 0 makes the folder, the
        others wait for it.

    Raises:
      InputError: the folder cannot be written, holds something else, holds a run with other
        settings, or another run is at work in it.
    """
    require_writable(out.resolve())
    path = out / MANIFEST
    number, count = process
    if number > 0:
        wait_for(path)
    if not path.exists() and out.is_dir():
        for held in out.iterdir():
            if not held.name.startswith((f".{MANIFEST}", LOCK)):
                raise InputError(
                    f"{out} holds other files and no {MANIFEST}; choose a new folder"
                )
    with one_line(f"cannot write {out}", OSError):
        out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as locks:
        locks.enter_context(_locked(out / LOCK, shared=count > 1))
        if count > 1:
            locks.enter_context(_locked(out / f"{LOCK}-{number}"))
        wanted = dataclasses.asdict(settings) | {"weights": weights}
        if path.exists():
            _require_same(path, wanted)
        else:
            for partial in out.glob(f".{MANIFEST}*"):
                partial.unlink()  # left by a run that was killed at its very beginning
            _write_manifest(path, wanted)
        yield


@contextlib.contextmanager
def _locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Holds a lock that ends with this process at the latest."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield  # Not a Unix system.
        return
    with one_line(f"cannot write {path}", OSError):
        # For reading, too: network file systems ask that of a shared lock.
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        # The second is what a network file system may say of a lock of another host.
        except (BlockingIOError, PermissionError):
            raise InputError(
                f"another run is at work in {path.parent}: wait until it ends, or choose "
                "another folder"
            ) from None
        except OSError:
            pass  # Some network file systems have no locks.
        yield


def _write_manifest(path: Path, wanted: dict[str, Any]) -> None:
    record = {
        "schema": _SCHEMA,
        "settings": wanted,
        "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
    }
    write_file(path, json.dumps(record, indent=2) + "\n")


def wait_for(path: Path) -> None:
    """Waits for a file that process 0 of a run writes.

    Raises:
      InputError: it does not come.
    """
    patience = _PATIENCE
    while not path.exists():
        if patience <= 0:
            raise InputError(
                f"{path} is missing after {_PATIENCE:.0f} s: start process 0, which writes it"
            )
        time.sleep(0.2)
        patience -= 0.2


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a run: its settings, library versions and the time of its begin.

    Raises:
      InputError: the manifest is missing or damaged.
    """
    path = out / MANIFEST
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["schema"] != _SCHEMA or not isinstance(record["settings"], dict):
            raise ValueError(f"schema {shown_value(record['schema'])}")
    except FileNotFoundError:
        raise InputError(f"{out} holds no run: it has no {MANIFEST}") from None
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged or from another eagle-jax: {reason(error, 100)}"
        ) from error
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
    # Runs begun before a setting existed had its default.
    before = dataclasses.asdict(Settings()) | read_manifest(path.parent)["settings"]
    others = [
        f"{name} {shown_value(before.get(name))}, now {shown_value(wanted.get(name))}"
        for name in sorted(before.keys() | wanted.keys())
        if before.get(name) != wanted.get(name)
    ]
    if others:
        raise InputError(
            f"{path.parent} was begun with {'; '.join(others)}: give the same options, or "
            "another folder"
        )
