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
from eagle_jax.errors import InputError, shown_value
from eagle_jax.files import DEMO
from eagle_jax.inputs.host_pixels import HostSettings, host_prompt
from eagle_jax.inputs.image_settings import FILE, ImageSettings
from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.inputs.pixel_budget import with_pixel_bounds
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.prompt import (
    DEFAULT_DIALOGUE,
    Dialogue,
    build_prompt,
    load_tokenizer,
    require_image_marks,
)
from eagle_jax.models.checkpoints.config_values import checked_config
from eagle_jax.models.checkpoints.converted import is_converted, quantization, read_weights
from eagle_jax.models.checkpoints.resolution import head_is_own, plain_tensors, single_dtype
from eagle_jax.models.checkpoints.sharding import checked_mesh, place_skeleton
from eagle_jax.models.checkpoints.tensor_files import read_json
from eagle_jax.models.checkpoints.unusable import require_no_pointers
from eagle_jax.models.checkpoints.weights import KeyMap, load_weights, read_config
from eagle_jax.models.families.network import Network
from eagle_jax.models.families.other_layouts import other_layout
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.models.layers.building_blocks import in_int8
from eagle_jax.scoring.bridged import load_bridged, takes_bridge
from eagle_jax.scoring.folders import SHORTCUT, find_folder
from eagle_jax.scoring.generation import GenerationSettings, read_generation

DTYPES = ("float32", "bfloat16", "float16")
"""Names of the floating-point types of weights."""

# The demo checkpoint with tensors replaced by those that benchmarks/plant_shortcut.py wrote.
_SHORTCUT_TENSORS = DEMO / "shortcut.safetensors"
# The files that transformers reads a tokenizer and its chat template from.
_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TOKENIZER_FILES += ("chat_template.jinja",)
_VOCABULARIES = ("vocab.json", "merges.txt", "tokenizer.model")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["network"],
    meta_fields=["name", "tokenizer", "image_settings", "end_ids", "generation"],
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
      generation: how the checkpoint wants its answers to be generated.
    """

    name: str
    network: Network
    tokenizer: Any
    image_settings: ImageSettings
    end_ids: tuple[int, ...]
    generation: GenerationSettings = GenerationSettings()

    @property
    def backend(self) -> str:
        """How the model runs: "port" or "bridge", as in `load`."""
        return getattr(self.network, "backend", "port")


@checked
def load(
    source: str | Path = "demo",
    *,
    dtype: str | None = None,
    mesh: Mesh | None = None,
    quantize: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    progress: bool = False,
    backend: str | None = None,
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
      min_pixels, max_pixels: bounds of the number of pixels that an image is resized to, for
        models of Qwen; fewer pixels are fewer visual tokens. None keeps the checkpoint's.
      progress: show a progress bar while weights in the Hugging Face layout are read.
      backend: "port" for this package's own modules; "bridge" for the modules of transformers
        inside JAX, which needs PyTorch; None for a port where there is one. `Model.backend`
        says which it was.

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
    folder = find_folder(source)
    where = str(folder / "config.json")
    config = checked_config(read_config(folder), where)
    if takes_bridge(backend, config, where):
        if quantize is not None or min_pixels is not None or max_pixels is not None:
            raise InputError(
                "a model that runs by the bridge takes no quantize, min_pixels or max_pixels; "
                "leave them out"
            )
        return Model(name=str(source), **load_bridged(folder, config, dtype, mesh, progress))
    skeleton, keys = abstract_network(config, where)
    converted = is_converted(folder)
    if not converted:
        tensors = plain_tensors(folder, config, keys)
        tied = skeleton.config.decoder.tied_head
        own_head = head_is_own(tensors, tied, _ties_absent_head(config))
        if own_head == tied:
            skeleton, keys = abstract_network(config, where, own_head)
        dtype = dtype or single_dtype(config, tensors, keys)
    # The weights come last: reading them takes long, and the small files can be wrong as well.
    settings = read_image_settings(folder, skeleton.config.vision, config["model_type"])
    settings = with_pixel_bounds(settings, min_pixels, max_pixels)
    _require_fitting_patches(settings, skeleton.config.vision, folder)
    tokenizer = _read_tokenizer(folder, skeleton)
    generation, end_ids = read_generation(folder, config, tokenizer)
    if converted:
        quantize = _stored_quantization(folder, quantize)
    if quantize == "int8":
        skeleton = in_int8(skeleton)
    if mesh is not None:
        skeleton = place_skeleton(skeleton, skeleton.config, mesh)
    if converted:
        network = read_weights(folder, skeleton, dtype)
    else:
        changes = _SHORTCUT_TENSORS if source == SHORTCUT else None
        network = load_weights(folder, skeleton, keys, dtype, progress, changes)
    return Model(
        name=str(source),
        network=network,
        tokenizer=tokenizer,
        image_settings=settings,
        end_ids=end_ids,
        generation=generation,
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
    whole = (folder / "tokenizer.json").exists()
    vocabulary = ("tokenizer.json",) if whole else _VOCABULARIES
    require_no_pointers(folder, (*vocabulary, *_TOKENIZER_FILES))
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


def _ties_absent_head(config: dict[str, Any]) -> bool:
    default = FAMILIES[config["model_type"]].ties_head
    return config.get("tie_word_embeddings", default)


def abstract_network(
    config: dict[str, Any], where: str, own_head: bool | None = None
) -> tuple[Any, KeyMap]:
    """The modules that a config.json describes, with shapes in place of weights.

    Args:
      config: the parsed file.
      where: name of the file in messages.
      own_head: whether the head has weights of its own; None for what the file says.

    Returns:
      The abstract modules, and the key map of their checkpoints in the Hugging Face layout.

    Raises:
      InputError: the family, or the value of a field, is not supported.
    """
    config = checked_config(config, where)
    model_type = config.get("model_type")
    if other := other_layout(config):
        raise InputError(f"{where} {other}")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise InputError(
            f"{where} says model_type {shown_value(model_type)}; "
            f"supported are {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[model_type]
    shape = family.read_config(config)
    if own_head is not None:
        decoder = dataclasses.replace(shape.decoder, tied_head=not own_head)
        shape = dataclasses.replace(shape, decoder=decoder)
    return nnx.clone(_skeleton(model_type, shape)), family.weight_keys(shape)


@functools.cache
def _skeleton(model_type: str, shape: Any) -> Any:
    # Cached, since tracing takes a quarter of a second or more.
    return nnx.eval_shape(lambda: FAMILIES[model_type].build(shape, rngs=nnx.Rngs(0)))


def prompt_about(
    model: Model, plan: ImagePlan, prompt: str, dialogue: Dialogue = DEFAULT_DIALOGUE
) -> Int32[np.ndarray, " s"]:
    """Token ids of a conversation with an image and a prompt, up to the model's answer.

    Args:
      model: from `load`.
      plan: the planned image.
      prompt: question or instruction.
      dialogue: system message, and whether the model thinks before it answers.

    Raises:
      InputError: the prompt is blank or spells a special token, or the chat template has no
        place for exactly one image or for the system message.
    """
    if isinstance(settings := model.image_settings, HostSettings):
        return host_prompt(model.tokenizer, settings, plan, prompt, dialogue)
    image_token = model.network.config.image_token_id
    return build_prompt(model.tokenizer, prompt, plan.tokens, image_token, dialogue)


def read_image_settings(
    folder: Path, vision: Any, model_type: str | None = None
) -> ImageSettings:
    """Reads the settings of a checkpoint's image processor.

    As in transformers, the image_processor in processor_config.json comes before
    preprocessor_config.json. A processor_config.json without it says nothing about images.

    Args:
      folder: the checkpoint folder.
      vision: configuration of the model's vision tower, with ``patch`` and ``merge``.
      model_type: name of the family, whose image processor is taken if the file names none.

    Raises:
      InputError: the folder has no such settings, or unsupported settings.
    """
    nested, path = folder / "processor_config.json", folder / FILE
    settings = read_json(nested).get("image_processor") if nested.exists() else None
    if settings is None and not path.exists():
        raise InputError(
            f"{folder} has no {FILE}, which says how images are prepared; fetch the checkpoint "
            "again"
        )
    if settings is None:
        return read_settings(read_json(path), vision.patch, vision.merge, model_type)
    if not isinstance(settings, dict):
        raise InputError(
            f"{nested}: image_processor is not an object; fetch the checkpoint again"
        )
    try:
        return read_settings(settings, vision.patch, vision.merge, model_type)
    except InputError as error:
        raise InputError(str(error).replace(FILE, nested.name)) from error
