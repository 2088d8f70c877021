"""From Hugging Face folders to converted folders, whose weights restore into any mesh."""

import json
import shutil
from pathlib import Path
from typing import cast

import jax
from flax import nnx

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.files import local_path, new_folder, require_writable
from eagle_jax.models.checkpoints.converted import MARKER, finish, verify_weights, write_weights
from eagle_jax.scoring.folders import find_folder
from eagle_jax.scoring.model import abstract_network, load

# All files of a checkpoint but its weights: configuration, tokenizer, chat template, processor.
_SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
_INDEX = "model.safetensors.index.json"


@checked
def convert(
    source: str | Path,
    destination: str | Path,
    *,
    dtype: str | None = None,
    quantize: str | None = None,
    progress: bool = False,
) -> int:
    """Converts a checkpoint into a folder that `load` restores straight to its devices.

    The folder holds the weights as an Orbax checkpoint, stacked as the model uses them, and
    copies of the small files. It is written under another name, read back, compared bit for
    bit with the weights in memory, and renamed only then, so that a partial checkpoint is never
    loaded. The host's memory must hold all weights.

    Args:
      source: a folder in the Hugging Face layout or a hub id, as in `load`.
      destination: a folder that does not exist yet, or is empty.
      dtype: floating-point type of the weights: "float32", "bfloat16" or "float16"; None keeps
        the checkpoint's.
      quantize: "int8" for int8 weights in the linear layers of attention and MLP; None for
        floating-point weights.
      progress: show progress bars.

    Returns:
      Number of bytes of weights written.

    Raises:
      InputError: the source cannot be loaded, or the destination cannot be written.
    """
    destination = local_path(destination).absolute()
    require_new(destination)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        model = load(source, dtype=dtype, quantize=quantize, progress=progress)
        network = cast(nnx.Module, model.network)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
        free = shutil.disk_usage(destination.parent).free
        if free < size:
            raise InputError(
                f"{destination} needs {size / 1e9:.1f} GB, but its disk has only "
                f"{free / 1e9:.1f} GB free: free space, or choose another disk"
            )
        with new_folder(destination) as new:
            write_weights(new, network)
            verify_weights(new, network, progress)
            folder = find_folder(source)
            for path in sorted(path for kind in _SMALL_FILES for path in folder.glob(kind)):
                if path.name not in (_INDEX, MARKER):
                    shutil.copyfile(path, new / path.name)
            _record_head(new / "config.json", model.network.config.decoder.tied_head)
            finish(new, quantize)
    return size


def _record_head(path: Path, tied: bool) -> None:
    """Makes config.json say whether the weights have a head, where the weights decided it."""
    config = json.loads(path.read_text(encoding="utf-8"))
    skeleton, _ = abstract_network(config, str(path))
    if skeleton.config.decoder.tied_head != tied:
        for part in (config, config.get("text_config") or {}):
            part["tie_word_embeddings"] = tied
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def require_new(destination: Path) -> None:
    """Raises unless a new folder can be made; to be called before a long load.

    Args:
      destination: must not exist, or be an empty folder, in a folder that can be written.

    Raises:
      InputError: the folder cannot be made.
    """
    if not destination.parent.is_dir():
        raise InputError(f"{destination.parent} is not a folder; make it first")
    require_writable(destination.parent)
    if destination.is_dir():
        require_writable(destination)
        if any(destination.iterdir()):
            raise InputError(f"{destination} is not empty; choose a new folder")
    elif destination.exists():
        raise InputError(f"{destination} is a file; choose a new folder")
