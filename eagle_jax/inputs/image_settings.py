"""What a checkpoint's preprocessor_config.json asks for."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from eagle_jax.errors import InputError

# transformers appends Fast or Pil to these names, by backend.
_KINDS: dict[str, Literal["pixels", "crop", "tiles"]] = {
    "Qwen2VLImageProcessor": "pixels",
    "CLIPImageProcessor": "crop",
    "GotOcr2ImageProcessor": "tiles",
}
_HF_NAMES = {"min_tiles": "min_patches", "max_tiles": "max_patches"}
_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class ImageSettings:
    """How an image processor turns a picture into patches.

    Attributes:
      kind: "pixels", resized within bounds of the area (Qwen); "crop", resized by the shorter
        edge and cropped to a square at the centre (CLIP, for LLaVA); "tiles", resized to a
        grid of square tiles and a thumbnail (GOT-OCR 2, for InternVL).
      patch_size: pixels of one patch side.
      temporal_patch_size: frames of one patch ("pixels"); a still image repeats its frame.
      merge_size: patches on one side of a merged visual token.
      min_pixels, max_pixels: bounds of the resized area, in pixels ("pixels").
      shortest_edge: length the shorter edge is resized to, in pixels ("crop").
      side: pixels on one side of the crop or of a tile ("crop", "tiles").
      min_tiles, max_tiles: bounds of the number of tiles, the thumbnail not counted ("tiles").
      mean, std: normalisation for each channel, after rescaling.
      rescale_factor: what uint8 values are multiplied by.
    """

    kind: Literal["pixels", "crop", "tiles"] = "pixels"
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    shortest_edge: int = 336
    side: int = 448
    min_tiles: int = 1
    max_tiles: int = 12
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    rescale_factor: float = 1 / 255

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> "ImageSettings":
        """Reads a Hugging Face preprocessor_config.json.

        The kind follows from `image_processor_type`, without which the file is Qwen's. What
        is absent or null has that processor's default. The files of CLIP and GOT-OCR 2 say
        nothing of patches: these are what the model wants, unless `patch_size` or `merge_size`
        is added. `crop_to_patches` is not heeded, because InternVL's processor always cuts
        tiles.

        Args:
          config: the parsed file.
          patch_size: of the model, for files that say nothing of patches.
          merge_size: likewise; None for 2 in tiles and 1 in a crop.

        Raises:
          InputError: a setting that this package does not implement, or a value that makes no
            sense; it is named.
        """
        kind = _kind(config)
        _refuse_unsupported(config, kind)
        given = {name: value for name, value in config.items() if value is not None}
        if kind != "pixels":
            merge_size = merge_size or {"crop": 1, "tiles": 2}[kind]
            given = {"patch_size": patch_size, "merge_size": merge_size} | given
        found = {
            "patch_size": given.get("patch_size"),
            "temporal_patch_size": given.get("temporal_patch_size"),
            "merge_size": given.get("merge_size"),
            **{"pixels": _pixels, "crop": _crop, "tiles": _tiles}[kind](config),
        }
        for name, value in found.items():
            if value is not None and (type(value) is not int or value < 1):
                name = _HF_NAMES.get(name, name)
                raise InputError(f"{_FILE}: {name}={value!r} must be a positive integer")
        for name in ("mean", "std"):
            found[name] = _per_channel(config.get(f"image_{name}"), f"image_{name}")
        if any(one <= 0 for one in found["std"] or ()):
            raise InputError(f"{_FILE}: image_std={found['std']!r} must be above 0")
        found["rescale_factor"] = config.get("rescale_factor")
        if not (found["rescale_factor"] is None or _is_number(found["rescale_factor"])):
            raise InputError(
                f"{_FILE}: rescale_factor={found['rescale_factor']!r} must be a number"
            )
        settings = cls(
            kind=kind, **{name: value for name, value in found.items() if value is not None}
        )
        _check_bounds(settings)
        return settings


def _kind(config: dict[str, Any]) -> Literal["pixels", "crop", "tiles"]:
    name = config.get("image_processor_type")
    if name is None:
        return "pixels"
    kind = _KINDS.get(str(name).removesuffix("Fast").removesuffix("Pil"))
    if kind is None:
        raise InputError(
            f"{_FILE}: image_processor_type={name!r} is not supported, only "
            f"{', '.join(_KINDS)} and their Fast variants"
        )
    return kind


def _refuse_unsupported(config: dict[str, Any], kind: str) -> None:
    supported = {
        "do_resize": (None, True),
        "do_rescale": (None, True),
        "do_normalize": (None, True),
        "do_center_crop": (None, kind == "crop"),
        "do_pad": (None, False),
        "resample": (None, 3),
    }
    for name, values in supported.items():
        if config.get(name) not in values:
            raise InputError(
                f"{_FILE}: {name}={config[name]!r} is not supported, only {values[1]!r}"
            )


def _pixels(config: dict[str, Any]) -> dict[str, Any]:
    """The bounds, by their own names or under `size` in either spelling."""
    size = config.get("size") or {}
    if not isinstance(size, dict):
        raise InputError(f"{_FILE}: size={size!r} is not supported")
    low = config.get("min_pixels"), size.get("min_pixels"), size.get("shortest_edge")
    high = config.get("max_pixels"), size.get("max_pixels"), size.get("longest_edge")
    return {
        "min_pixels": next((value for value in low if value is not None), None),
        "max_pixels": next((value for value in high if value is not None), None),
    }


def _crop(config: dict[str, Any]) -> dict[str, Any]:
    size = config.get("size")
    if isinstance(size, dict):
        if size.keys() != {"shortest_edge"}:
            raise InputError(f"{_FILE}: size={size!r} must hold shortest_edge and nothing else")
        size = size["shortest_edge"]
    return {
        "shortest_edge": 224 if size is None else size,
        "side": _square(config, "crop_size", 224),
    }


def _tiles(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "side": _square(config, "size", 384),
        "min_tiles": config.get("min_patches"),
        "max_tiles": config.get("max_patches"),
    }


def _square(config: dict[str, Any], name: str, default: int) -> Any:
    size = config.get(name)
    if not isinstance(size, dict):
        return default if size is None else size
    if size.keys() != {"height", "width"} or size["height"] != size["width"]:
        raise InputError(f"{_FILE}: {name}={size!r} must hold an equal height and width")
    return size["height"]


def _check_bounds(settings: ImageSettings) -> None:
    unit = settings.patch_size * settings.merge_size
    if settings.kind == "pixels":
        least, most = ("min_pixels", settings.min_pixels), ("max_pixels", settings.max_pixels)
    elif settings.kind == "crop":
        # A crop beyond the image would need a border.
        least, most = ("crop_size", settings.side), ("shortest_edge", settings.shortest_edge)
    else:
        least, most = ("min_patches", settings.min_tiles), ("max_patches", settings.max_tiles)
    if least[1] > most[1]:
        raise InputError(f"{_FILE}: {least[0]}={least[1]} exceeds {most[0]}={most[1]}")
    if settings.kind != "pixels" and settings.side % unit:
        raise InputError(
            f"{_FILE}: a {'crop' if settings.kind == 'crop' else 'tile'} of {settings.side} "
            f"pixels cannot be cut into tokens of {unit} pixels"
        )


def _per_channel(value: Any, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    values = [value] * 3 if _is_number(value) else value
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise InputError(f"{_FILE}: {name}={value!r} must be three numbers")
    if not all(_is_number(one) for one in values):
        raise InputError(f"{_FILE}: {name}={value!r} must be three numbers")
    return tuple(float(one) for one in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and type(value) is not bool and math.isfinite(value)
