"""What a checkpoint's preprocessor_config.json asks for."""

from dataclasses import dataclass
from typing import Any

from eagle_jax.errors import InputError


@dataclass(frozen=True)
class ImageSettings:
    """How a Qwen image processor turns a picture into patches.

    Attributes:
      patch_size: pixels of one patch side.
      temporal_patch_size: frames of one patch; a still image repeats its single frame.
      merge_size: patches on one side of a merged visual token.
      min_pixels, max_pixels: bounds of the resized area, in pixels.
      mean, std: normalisation for each channel, after rescaling.
      rescale_factor: what uint8 values are multiplied by.
    """

    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    rescale_factor: float = 1 / 255

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> "ImageSettings":
        """Reads a Hugging Face preprocessor_config.json.

        Pixel bounds are taken from `min_pixels` and `max_pixels`, or from `size` under either
        those names or `shortest_edge` and `longest_edge`. What is absent or null has the
        processor's default.

        Args:
          config: the parsed file.

        Raises:
          InputError: a setting that this package does not implement, or a value that makes no
            sense; it is named.
        """
        _refuse_unsupported(config)
        size = config.get("size") or {}
        if not isinstance(size, dict):
            raise InputError(f"preprocessor_config.json: size={size!r} is not supported")
        found = {
            "patch_size": config.get("patch_size"),
            "temporal_patch_size": config.get("temporal_patch_size"),
            "merge_size": config.get("merge_size"),
            "min_pixels": _first(config, "min_pixels", size, "min_pixels", "shortest_edge"),
            "max_pixels": _first(config, "max_pixels", size, "max_pixels", "longest_edge"),
        }
        for name, value in found.items():
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(
                    f"preprocessor_config.json: {name}={value!r} must be a positive integer"
                )
        for name in ("mean", "std"):
            found[name] = _per_channel(config.get(f"image_{name}"), f"image_{name}")
        if 0 in (found["std"] or ()):
            raise InputError("preprocessor_config.json: image_std contains 0")
        found["rescale_factor"] = config.get("rescale_factor")
        if not isinstance(found["rescale_factor"], float | int | None):
            raise InputError(
                f"preprocessor_config.json: rescale_factor={found['rescale_factor']!r} "
                "must be a number"
            )
        settings = cls(**{name: value for name, value in found.items() if value is not None})
        if settings.min_pixels > settings.max_pixels:
            raise InputError(
                f"preprocessor_config.json: min_pixels={settings.min_pixels} exceeds "
                f"max_pixels={settings.max_pixels}"
            )
        return settings


def _refuse_unsupported(config: dict[str, Any]) -> None:
    supported = {
        "image_processor_type": (
            None,
            "Qwen2VLImageProcessor",
            "Qwen2VLImageProcessorFast",
            "Qwen2VLImageProcessorPil",
        ),
        "do_resize": (None, True),
        "do_rescale": (None, True),
        "do_normalize": (None, True),
        "do_center_crop": (None, False),
        "do_pad": (None, False),
        "resample": (None, 3),
    }
    for name, values in supported.items():
        if config.get(name) not in values:
            raise InputError(
                f"preprocessor_config.json: {name}={config[name]!r} is not supported, "
                f"only {' or '.join(repr(value) for value in values if value is not None)}"
            )


def _first(config: dict, name: str, size: dict, *spellings: str) -> Any:
    values = [config.get(name), *(size.get(spelling) for spelling in spellings)]
    return next((value for value in values if value is not None), None)


def _per_channel(value: Any, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    values = [value] * 3 if isinstance(value, float | int) else value
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise InputError(f"preprocessor_config.json: {name}={value!r} must be three numbers")
    if not all(isinstance(one, float | int) for one in values):
        raise InputError(f"preprocessor_config.json: {name}={value!r} must be three numbers")
    return tuple(float(one) for one in values)
