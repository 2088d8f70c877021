"""Loading a model: its modules, tokenizer and image settings."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Int32

from eagle_jax.argument_types import checked
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
from eagle_jax.models.checkpoints.weights import KeyMap, load_weights, read_config
from eagle_jax.models.families.network import Network
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.models.layers.building_blocks import in_int8

DTYPES = ("float32", "bfloat16", "float16")
"""Names of the floating-point types of weights."""

# The demo checkpoint with tensors replaced by those that benchmarks/plant_shortcut.py wrote.
_SHORTCUT, _SHORTCUT_TENSORS = "demo-shortcut", DEMO / "shortcut.safetensors"


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["network"],
    meta_fields=["name", "tokenizer", "image_settings", "end_ids"],
)
@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded model, to pass to `ask` and `explain`. A pytree of its weights.

    Attributes:
      name: hub id or folder from which the model was loaded, "demo" or "demo-shortcut".
      network: Flax NNX modules with their weights.
      tokenizer: transformers' tokenizer of the checkpoint.
      image_settings: settings of the checkpoint's image processor.
      end_ids: ids of the tokens that end an answer.
    """

    name: str
    network: Network
    tokenizer: Any
    image_settings: ImageSettings
    end_ids: tuple[int, ...]


@checked
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
      source: "demo" for the bundled storybook model, "demo-shortcut" for its variant that
        answers by a sign in the corner, a folder in the Hugging Face layout or from
        `eagle-jax convert`, or a hub id such as "Qwen/Qwen2.5-VL-3B-Instruct", which is
        downloaded once and cached.
      dtype: floating-point type of the weights, "float32", "bfloat16" or "float16"; None keeps
        the checkpoint's type.
      mesh: devices to use, with the axis "data", over which masked images are spread, and the
        axis "model", over which weights are split; None for the default device alone.
      quantize: "int8" for linear layers with int8 weights and activations; None loads the
        checkpoint as it is, in int8 if it was converted to int8.
      progress: show a progress bar while weights in the Hugging Face layout are read.

    Returns:
      The model, with its weights on the default device or on the devices of the mesh.

    Raises:
      InputError: there is no such folder or hub id; the checkpoint is incomplete, damaged or
        of a family that is not supported; or an argument has another value or the mesh other
        axes than described above.
    """
    if mesh is not None:
        mesh = checked_mesh(mesh)
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    if quantize not in (None, "int8"):
        raise InputError(f"quantize is {quantize!r}; it must be int8, or left out")
    folder = find_folder(str(source))
    where = str(folder / "config.json")
    config = checked_config(read_config(folder), where)
    skeleton, keys = abstract_network(config, where)
    # The weights come last: reading them takes long, and the small files can be wrong as well.
    settings = read_image_settings(folder, skeleton.config.vision)
    _require_fitting_patches(settings, skeleton.config.vision, folder)
    tokenizer = _read_tokenizer(folder, skeleton)
    end_ids = _end_ids(folder, config, tokenizer)
    converted = is_converted(folder)
    if converted:
        quantize = _stored_quantization(folder, quantize)
    if quantize == "int8":
        skeleton = in_int8(skeleton)
    if mesh is not None:
        skeleton = place_skeleton(skeleton, skeleton.config, mesh)
    if converted:
        network = read_weights(folder, skeleton, dtype)
    else:
        changes = _SHORTCUT_TENSORS if source == _SHORTCUT else None
        network = load_weights(folder, skeleton, keys, dtype, progress, changes)
    return Model(
        name=str(source),
        network=network,
        tokenizer=tokenizer,
        image_settings=settings,
        end_ids=end_ids,
    )


def _require_fitting_patches(settings: ImageSettings, vision: Any, folder: Path) -> None:
    if (settings.patch_size, settings.merge_size) != (vision.patch, vision.merge):
        raise InputError(
            f"{folder}: the image processor cuts patches of {settings.patch_size} pixels "
            f"merged {settings.merge_size} x {settings.merge_size}, but the model in "
            f"config.json wants {vision.patch} and {vision.merge}; fetch the checkpoint again"
        )


def _read_tokenizer(folder: Path, skeleton: Any) -> Any:
    config = skeleton.config
    tokenizer = load_tokenizer(folder, config.image_token_id)
    if skeleton.marks_image:
        require_image_marks(tokenizer, folder)
    if len(tokenizer) > config.decoder.vocabulary:
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model in config.json "
            f"only {config.decoder.vocabulary}; fetch the checkpoint again"
        )
    return tokenizer


def _stored_quantization(folder: Path, quantize: str | None) -> str | None:
    stored = quantization(folder)
    if quantize not in (None, stored):
        raise InputError(
            f"{folder} was converted without {quantize}; convert the checkpoint again with "
            f"--quantize {quantize}"
        )
    return stored


def abstract_network(config: dict[str, Any], where: str) -> tuple[Any, KeyMap]:
    """The modules that a config.json describes, with shapes in place of weights.

    Args:
      config: the parsed file.
      where: name of the file in messages.

    Returns:
      The abstract modules, and the key map of their checkpoints in the Hugging Face layout.

    Raises:
      InputError: the family, or the value of a field, is not supported.
    """
    config = checked_config(config, where)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise InputError(
            f"{where} says model_type {model_type!r}; "
            f"supported are {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[model_type]
    shape = family.read_config(config)
    return nnx.clone(_skeleton(model_type, shape)), family.weight_keys(shape)


@functools.cache
def _skeleton(model_type: str, shape: Any) -> Any:
    # Cached, since tracing takes a quarter of a second or more.
    return nnx.eval_shape(lambda: FAMILIES[model_type].build(shape, rngs=nnx.Rngs(0)))


def prompt_about(model: Model, plan: ImagePlan, prompt: str) -> Int32[np.ndarray, " s"]:
    """Token ids of a conversation with an image and a prompt, up to the model's answer.

    Args:
      model: from `load`.
      plan: the planned image.
      prompt: question or instruction.

    Raises:
      InputError: the prompt is blank or spells a special token, or the chat template has no
        place for exactly one image.
    """
    return build_prompt(
        model.tokenizer, prompt, plan.tokens, model.network.config.image_token_id
    )


def find_folder(source: str) -> Path:
    """The folder of a model: bundled with the package, local, or downloaded by its hub id.

    Args:
      source: as for `load`.

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
            f"{hub_id} is neither a local folder nor in the download cache, and the hub cannot "
            "be reached: check the name and the connection, or give a folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{hub_id} cannot be downloaded from the hub ({reason(error, 200)}); check the "
            "name and the connection, or give a folder"
        ) from error


def read_image_settings(folder: Path, vision: Any) -> ImageSettings:
    """Reads the settings of a checkpoint's image processor.

    Args:
      folder: the checkpoint folder.
      vision: configuration of the model's vision tower, with ``patch`` and ``merge``.

    Raises:
      InputError: the folder has no such settings, or unsupported settings.
    """
    # transformers 5 writes one file for the whole processor, with the image part nested.
    nested = folder / "processor_config.json"
    path = folder / "preprocessor_config.json"
    if path.exists():
        return read_settings(read_json(path), vision.patch, vision.merge)
    if not nested.exists():
        raise InputError(
            f"{folder} has no preprocessor_config.json, which says how images are prepared; "
            "fetch the checkpoint again"
        )
    settings = read_json(nested).get("image_processor")
    if not isinstance(settings, dict):
        raise InputError(f"{nested} holds no image_processor; fetch the checkpoint again")
    return read_settings(settings, vision.patch, vision.merge)


def _end_ids(folder: Path, config: dict[str, Any], tokenizer: Any) -> tuple[int, ...]:
    path = folder / "generation_config.json"
    ids = read_json(path).get("eos_token_id") if path.exists() else None
    if ids is None:
        ids = config.get("eos_token_id", tokenizer.eos_token_id)
    ids = ids if isinstance(ids, list) else [ids]
    if not ids or not all(type(token_id) is int and token_id >= 0 for token_id in ids):
        raise InputError(f"{folder}: eos_token_id is {ids}; it must hold token ids")
    return tuple(ids)
