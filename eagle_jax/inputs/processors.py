"""The table of image processors: a new processor is one file, and one line here."""

from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.inputs.centre_crop import CentreCrop
from eagle_jax.inputs.image_settings import FILE, ImageSettings
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.stretch import Stretch
from eagle_jax.inputs.tiles import Tiles

# Every name under which one of these was published. transformers appends the backend, Fast or
# Pil, and called image processors feature extractors at first.
_PROCESSORS: dict[str, type[ImageSettings]] = {
    "Qwen2VLImageProcessor": PixelBudget,
    "CLIPImageProcessor": CentreCrop,
    "GotOcr2ImageProcessor": Tiles,
    "LlavaImageProcessor": CentreCrop,
    "Qwen2_5_VLImageProcessor": PixelBudget,
    "Qwen2_5VLImageProcessor": PixelBudget,
    "Qwen3VLImageProcessor": PixelBudget,
    "Qwen3_VLImageProcessor": PixelBudget,
    "InternVLImageProcessor": Tiles,
    "SiglipImageProcessor": Stretch,
    "Gemma3ImageProcessor": Stretch,
    "BlipImageProcessor": Stretch,
}
_NAMED = tuple(_PROCESSORS)[:4]
# For files without a name, as in transformers; Qwen's for all others.
_OF_FAMILIES: dict[str | None, type[ImageSettings]] = {
    "llava": CentreCrop,
    "internvl": Tiles,
}


def read_settings(
    config: dict[str, Any],
    patch_size: int = 14,
    merge_size: int | None = None,
    model_type: str | None = None,
) -> ImageSettings:
    """Reads a Hugging Face preprocessor_config.json of any known processor.

    The setting `image_processor_type` names the processor, or else `feature_extractor_type`. A
    file without either has the processor of the model's family.

    Args:
      config: the parsed file.
      patch_size: the model's patch size, for a file that does not give it.
      merge_size: the model's merge size, for a file that does not give it; None for the
        processor's default.
      model_type: name of the family; None for Qwen's processor in a file without a name.

    Raises:
      InputError: the processor or a setting is not supported, or a value is invalid; it is
        named.
    """
    name = config.get("image_processor_type") or config.get("feature_extractor_type")
    own = _OF_FAMILIES.get(model_type, PixelBudget)
    if name is None:
        processor = own
    else:
        base = str(name).removesuffix("Fast").removesuffix("Pil")
        processor = _PROCESSORS.get(base.replace("FeatureExtractor", "ImageProcessor"))
    if processor is None:
        raise InputError(
            f"{FILE}: image_processor_type={str(name)[:60]!r} is not supported; it must be one "
            f"of {', '.join(_NAMED)} or a Fast variant"
        )
    if model_type is not None and processor is not own:
        raise InputError(
            f"{FILE}: image_processor_type={name!r} is not that of a {model_type} model; take "
            "the file of the original checkpoint"
        )
    return processor.from_hf(config, patch_size, merge_size)
