"""The table of image processors: a new processor is one file, and one line here."""

from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.inputs.centre_crop import CentreCrop
from eagle_jax.inputs.image_settings import FILE, ImageSettings
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.tiles import Tiles

# transformers appends the backend, Fast or Pil, to these names.
_PROCESSORS: dict[str, type[ImageSettings]] = {
    "Qwen2VLImageProcessor": PixelBudget,
    "CLIPImageProcessor": CentreCrop,
    "GotOcr2ImageProcessor": Tiles,
}


def read_settings(
    config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
) -> ImageSettings:
    """Reads a Hugging Face preprocessor_config.json of any known processor.

    The setting `image_processor_type` names the processor; a file without it is Qwen's.

    Args:
      config: the parsed file.
      patch_size: the model's patch size, for a file that does not give it.
      merge_size: the model's merge size, for a file that does not give it; None for the
        processor's default.

    Raises:
      InputError: the processor or a setting is not supported, or a value is invalid; it is
        named.
    """
    name = config.get("image_processor_type")
    if name is None:
        return PixelBudget.from_hf(config)
    processor = _PROCESSORS.get(str(name).removesuffix("Fast").removesuffix("Pil"))
    if processor is None:
        raise InputError(
            f"{FILE}: image_processor_type={name!r} is not supported; it must be one of "
            f"{', '.join(_PROCESSORS)} or a Fast variant"
        )
    return processor.from_hf(config, patch_size, merge_size)
