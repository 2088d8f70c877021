"""The table of image processors: a new one is one file, and one line here."""

from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.inputs.centre_crop import CentreCrop
from eagle_jax.inputs.image_settings import FILE, ImageSettings
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.tiles import Tiles

# transformers appends Fast or Pil to these names, by backend.
_PROCESSORS: dict[str, type[ImageSettings]] = {
    "Qwen2VLImageProcessor": PixelBudget,
    "CLIPImageProcessor": CentreCrop,
    "GotOcr2ImageProcessor": Tiles,
}


def read_settings(
    config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
) -> ImageSettings:
    """Reads a Hugging Face preprocessor_config.json of any kind.

    The kind follows from `image_processor_type`, without which the file is Qwen's.

    Args:
      config: the parsed file.
      patch_size: of the model, for files that say nothing of patches.
      merge_size: likewise; None for what is usual.

    Raises:
      InputError: a processor or a setting that this package does not implement, or a value
        that makes no sense; it is named.
    """
    name = config.get("image_processor_type")
    if name is None:
        return PixelBudget.from_hf(config)
    kind = _PROCESSORS.get(str(name).removesuffix("Fast").removesuffix("Pil"))
    if kind is None:
        raise InputError(
            f"{FILE}: image_processor_type={name!r} is not supported, only "
            f"{', '.join(_PROCESSORS)} and their Fast variants"
        )
    return kind.from_hf(config, patch_size, merge_size)
