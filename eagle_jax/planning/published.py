"""The checkpoints that ship as configurations, without their weights."""

import json
from importlib import resources
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.files import DEMO, local_path
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.processors import read_settings
from eagle_jax.models.checkpoints.config_values import checked_config
from eagle_jax.models.checkpoints.weights import read_config
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.scoring.model import abstract_network, read_image_settings


def published_models() -> dict[str, dict[str, Any]]:
    """The checkpoints whose configurations ship with the package, by hub id."""
    folder = resources.files("eagle_jax.planning") / "configs"
    files = [json.loads(path.read_text("utf-8")) for path in folder.iterdir()]
    return {file["name"]: file for file in sorted(files, key=lambda file: file["name"])}


def published_config(name: str) -> Any:
    """The configuration of a checkpoint that ships, as its family reads it.

    Args:
      name: hub id of the checkpoint.
    """
    config = checked_config(published_models()[name]["config"], name)
    return FAMILIES[config["model_type"]].read_config(config)


def read_model(model: str) -> tuple[str, Any, ImageSettings]:
    """A model's name, its modules with shapes in place of weights, and its image settings.

    Args:
      model: "demo", a folder, or the hub id of a checkpoint that ships.

    Raises:
      InputError: the model is neither, or its family is not supported.
    """
    published = published_models()
    if model in published:
        files = published[model]
        skeleton, _ = abstract_network(files["config"], model)
        return model, skeleton, read_settings(files["preprocessor_config"])
    folder = DEMO / "checkpoint" if model == "demo" else local_path(model)
    if not folder.is_dir():
        raise InputError(
            f"model is {model!r}; it must be demo, a folder with config.json and "
            f"preprocessor_config.json, or one of {', '.join(published)}"
        )
    config = read_config(folder)
    skeleton, _ = abstract_network(config, str(folder / "config.json"))
    settings = read_image_settings(folder, skeleton.config.vision, config["model_type"])
    return model, skeleton, settings
