"""Models that run by the bridge: which they are, and how they are loaded."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eagle_jax.errors import InputError
from eagle_jax.inputs.host_pixels import HostSettings
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.prompt import load_tokenizer, render
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.scoring.generation import read_generation

BACKENDS = ("port", "bridge")
"""Ways to run a model: as this package's port, or as transformers' modules inside JAX."""


def takes_bridge(backend: str | None, config: Mapping[str, Any], where: str) -> bool:
    """Whether a model runs by the bridge.

    Args:
      backend: "port", "bridge", or None for a port where there is one.
      config: the parsed config.json.
      where: name of the file in messages.

    Raises:
      InputError: the backend is unknown, or the bridge cannot run here.
    """
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}; it must be port or bridge, or left out")
    model_type = config.get("model_type")
    ported = isinstance(model_type, str) and model_type in FAMILIES
    if backend == "port" or (backend is None and ported):
        return False
    if importlib.util.find_spec("torch") is None:
        if backend is None:
            return False
        raise InputError(
            "backend 'bridge' needs PyTorch, which is not installed; install it with: "
            'pip install "eagle-jax[torch]"'
        )
    return backend == "bridge" or _in_transformers(model_type)


def _in_transformers(model_type: Any) -> bool:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as NAMES,
    )

    return isinstance(model_type, str) and model_type in NAMES


def load_bridged(
    folder: Path,
    config: dict[str, Any],
    dtype: str | None,
    mesh: Mesh | None,
    progress: bool,
) -> dict[str, Any]:
    """The parts of a `Model` that runs by the bridge.

    Args:
      folder: the checkpoint folder.
      config: its parsed config.json.
      dtype: floating-point type of the weights; None keeps the checkpoint's.
      mesh: devices to use; its "model" axis must have size 1.
      progress: show a progress bar while weights are read.

    Returns:
      Network, tokenizer, image settings, end ids and generation settings, by name.

    Raises:
      InputError: the folder cannot be used; the message says why.
    """
    from eagle_jax.models.bridge.function import ModelFunction
    from eagle_jax.models.bridge.loading import load_arrays
    from eagle_jax.models.bridge.modules import build_modules
    from eagle_jax.models.bridge.network import BridgeNetwork
    from eagle_jax.models.bridge.processor import FamilyProcessor
    from eagle_jax.models.bridge.shape import read_shape

    if mesh is not None and mesh.shape["model"] > 1:
        raise InputError(
            "a model that runs by the bridge cannot be split over devices; use a mesh whose "
            '"model" axis has size 1'
        )
    where = str(folder / "config.json")
    modules = build_modules(folder, config["model_type"])
    shape = read_shape(modules, where)
    tokenizer = load_tokenizer(folder, shape.image_token_id)
    if len(tokenizer) > shape.decoder.vocabulary:
        raise InputError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model in config.json "
            f"only {shape.decoder.vocabulary}; fetch the checkpoint again"
        )
    generation, end_ids = read_generation(folder, config, tokenizer)
    processor = FamilyProcessor(folder, tokenizer, modules.config)
    settings = _settings(processor, tokenizer, shape.image_token_id, folder)
    sharding = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    weights, untied = load_arrays(folder, modules, dtype, sharding, progress)
    return {
        "network": BridgeNetwork(weights, ModelFunction(modules, untied), shape),
        "tokenizer": tokenizer,
        "image_settings": settings,
        "end_ids": end_ids,
        "generation": generation,
    }


def _settings(
    processor: Any, tokenizer: Any, image_token_id: int, folder: Path
) -> HostSettings:
    from eagle_jax.models.bridge.network import ImageArguments

    rendered = render(tokenizer, "x")
    mark = processor.placeholder(rendered)
    if mark is None or rendered.count(mark) != 1:
        raise InputError(
            f"the chat template in {folder} does not show one image where the processor wants "
            "it; take chat_template.jinja from the original checkpoint"
        )

    def describe(image: np.ndarray) -> ImageArguments:
        out = processor(rendered, image, False)
        tokens = int((out.ids == image_token_id).sum())
        if tokens == 0:
            raise InputError(
                f"the processor in {folder} writes no image token (id {image_token_id}) for an "
                "image; fetch the checkpoint again"
            )
        return ImageArguments(tokens, out.extras, out.pixels, image)

    def prepare(image: np.ndarray) -> np.ndarray:
        return processor(rendered, image, False).pixels

    probe = np.random.default_rng(0).integers(0, 256, (61, 97, 3), np.uint8)
    alone = processor.pixels_alone(probe)
    needs_text = alone is None or not np.array_equal(alone, prepare(probe))
    return HostSettings(
        prepare=prepare if needs_text else processor.pixels_alone,
        describe=describe,
        tokenize=lambda text, image, special: processor(text, image, special).ids,
        placeholder=mark,
        device=_on_device(processor.image_settings()),
    )


def _on_device(config: dict[str, Any]) -> ImageSettings | None:
    """Settings with which the device may prepare pixels as the processor does, if any."""
    try:
        settings = read_settings(config, patch_size=1, merge_size=1)
    except InputError:  # a processor or a setting that the device does not have
        return None
    if isinstance(settings, PixelBudget):
        return settings
    # A square is one patch: its values then have the order of ``pixel_values``.
    side = settings.side  # pyright: ignore[reportAttributeAccessIssue]
    return dataclasses.replace(settings, patch_size=side, merge_size=1)
