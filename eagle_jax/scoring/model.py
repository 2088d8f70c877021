"""A checkpoint made ready for explanations: modules, tokenizer and image settings."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Int32

from eagle_jax.errors import InputError, reason
from eagle_jax.files import DEMO
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.prompt import (
    build_prompt,
    load_tokenizer,
    require_image_marks,
)
from eagle_jax.models.checkpoints.config_values import checked_config
from eagle_jax.models.checkpoints.converted import is_converted, quantization, read_weights
from eagle_jax.models.checkpoints.sharding import checked_mesh, place_skeleton
from eagle_jax.models.checkpoints.tensor_files import read_json
from eagle_jax.models.checkpoints.weights import Keys, load_weights, read_config
from eagle_jax.models.families.network import Network
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.models.layers.building_blocks import in_int8

_DTYPES = ("float32", "bfloat16", "float16")
# The demo's checkpoint with some tensors of its own, see `eagle_jax.demo.shortcut`.
_SHORTCUT = "demo-shortcut"


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["network"],
    meta_fields=["name", "tokenizer", "image_settings", "end_ids"],
)
@dataclasses.dataclass(frozen=True)
class Model:
    """What `load` returns; pass it to `ask` and `explain`. A pytree of its weights.

    Attributes:
      name: the hub id or folder it was loaded from, "demo" or "demo-shortcut".
      network: the Flax NNX modules with their weights.
      tokenizer: transformers' tokenizer of the checkpoint.
      image_settings: how its image processor treats pictures.
      end_ids: tokens that end an answer.
    """

    name: str
    network: Network
    tokenizer: Any
    image_settings: ImageSettings
    end_ids: tuple[int, ...]


def load(
    source: str | Path = "demo",
    *,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    quantize: str | None = None,
    progress: bool = False,
) -> Model:
    """Loads a model.

    Args:
      source: "demo" for the bundled storybook model, "demo-shortcut" for the one that tells
        by a sign what is there, a folder in the Hugging Face layout or from `eagle-jax
        convert`, or a hub id such as "Qwen/Qwen2.5-VL-3B-Instruct", which is downloaded once
        and cached.
      dtype: "float32", "bfloat16" or "float16"; None keeps the checkpoint's own.
      mesh: devices to use, with the axes "data", over which masked images are spread, and
        "model", over which weights are; None for the default device alone.
      quantize: "int8" for linear layers with int8 weights and activations; None leaves a
        checkpoint as it is, also one that was converted to int8.
      progress: show a progress bar while weights in the Hugging Face layout are read.

    Returns:
      The model, with its weights on the default device or on those of the mesh.

    Raises:
      InputError: there is no such folder or hub id, or the checkpoint is incomplete, damaged
        or of a family that is not supported, or the mesh has other axes.
    """
    if mesh is not None:
        mesh = checked_mesh(mesh)
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(_DTYPES)}")
    if quantize not in (None, "int8"):
        raise InputError(f"quantize is {quantize!r}; it must be int8, or left out")
    folder = find_folder(str(source))
    where = str(folder / "config.json")
    config = checked_config(read_config(folder), where)
    skeleton, keys = abstract_network(config, where)
    family = skeleton.config
    # The weights come last: they take long, and the small files can be wrong as well.
    settings = read_image_settings(folder, family.vision)
    if (settings.patch_size, settings.merge_size) != (family.vision.patch, family.vision.merge):
        raise InputError(
            f"{folder}: the image processor cuts patches of {settings.patch_size} pixels "
            f"merged {settings.merge_size} x {settings.merge_size}, the model in config.json "
            f"wants {family.vision.patch} and {family.vision.merge}"
        )
    tokenizer = load_tokenizer(folder, family.image_token_id)
    if skeleton.marks_image:
        require_image_marks(tokenizer, folder)
    if len(tokenizer) > family.decoder.vocabulary:
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model in config.json "
            f"only {family.decoder.vocabulary}"
        )
    end_ids = _end_ids(folder, config, tokenizer)
    converted = is_converted(folder)
    if converted:
        stored = quantization(folder)
        if quantize not in (None, stored):
            raise InputError(
                f"{folder} was converted without {quantize}; convert the checkpoint again with "
                f"--quantize {quantize}"
            )
        quantize = stored
    if quantize == "int8":
        skeleton = in_int8(skeleton)
    if mesh is not None:
        skeleton = place_skeleton(skeleton, family, mesh)
    if converted:
        network = read_weights(folder, skeleton, dtype)
    else:
        changes = DEMO / "shortcut.safetensors" if source == _SHORTCUT else None
        network = load_weights(folder, skeleton, keys, dtype, progress, changes)
    return Model(
        name=str(source),
        network=network,
        tokenizer=tokenizer,
        image_settings=settings,
        end_ids=end_ids,
    )


def abstract_network(config: dict[str, Any], where: str) -> tuple[Any, Keys]:
    """The modules a config.json asks for, with shapes in place of weights.

    Args:
      config: the parsed file.
      where: what to call it in messages.

    Returns:
      The abstract modules, and where each tensor of a Hugging Face checkpoint goes in them.

    Raises:
      InputError: the family is not supported, or a field asks for something that is not.
    """
    config = checked_config(config, where)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise InputError(
            f"{where} says model_type {kind!r}; supported are {', '.join(sorted(FAMILIES))}"
        )
    shape = FAMILIES[kind].read_config(config)
    return nnx.clone(_skeleton(kind, shape)), FAMILIES[kind].weight_keys(shape)


@functools.cache
def _skeleton(kind: str, shape: Any) -> Any:
    # Traced once for loads and plans of the same shape: a quarter of a second or more.
    return nnx.eval_shape(lambda: FAMILIES[kind].build(shape, rngs=nnx.Rngs(0)))


def prompt_about(model: Model, plan: ImagePlan, prompt: str) -> Int32[np.ndarray, " s"]:
    """Ids of a conversation that shows a planned image, asks, and opens the answer.

    Args:
      model: from `load`.
      plan: the image.
      prompt: the question or instruction.

    Raises:
      InputError: see `eagle_jax.inputs.prompt.build_prompt`.
    """
    return build_prompt(
        model.tokenizer, prompt, plan.tokens, model.network.config.image_token_id
    )


def find_folder(source: str) -> Path:
    """The folder of a model: the bundled one, a local one, or the download of a hub id.

    Raises:
      InputError: the hub id cannot be downloaded.
    """
    if source in ("demo", _SHORTCUT):
        return DEMO / "checkpoint"
    folder = Path(source)
    if folder.exists() or source.startswith(("/", ".", "~")) or source.count("/") != 1:
        return folder.expanduser()
    return _download(source)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{hub_id} is no local folder and not in the download cache, and the hub cannot be "
            "reached: check the name and the connection, or give a folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{hub_id} cannot be downloaded from the hub: {reason(error, 200)}"
        ) from error


def read_image_settings(folder: Path, vision: Any) -> ImageSettings:
    """How a checkpoint's image processor treats pictures.

    Args:
      folder: the checkpoint folder.
      vision: configuration of the model's vision tower, with its ``patch`` and ``merge``.

    Raises:
      InputError: the folder does not say, or something that is not supported.
    """
    # transformers 5 writes one file for the whole processor, with the image part nested.
    nested = folder / "processor_config.json"
    path = folder / "preprocessor_config.json"
    if path.exists():
        return read_settings(read_json(path), vision.patch, vision.merge)
    if not nested.exists():
        raise InputError(
            f"{folder} has no preprocessor_config.json, which says how pictures are prepared; "
            "fetch the checkpoint again"
        )
    found = read_json(nested).get("image_processor")
    if not isinstance(found, dict):
        raise InputError(f"{nested} holds no image_processor")
    return read_settings(found, vision.patch, vision.merge)


def _end_ids(folder: Path, config: dict[str, Any], tokenizer: Any) -> tuple[int, ...]:
    path = folder / "generation_config.json"
    found = read_json(path).get("eos_token_id") if path.exists() else None
    if found is None:
        found = config.get("eos_token_id", tokenizer.eos_token_id)
    found = found if isinstance(found, list) else [found]
    if not found or not all(type(one) is int and one >= 0 for one in found):
        raise InputError(f"{folder}: eos_token_id is {found}; it must hold token ids")
    return tuple(found)
