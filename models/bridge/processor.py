"""A family's own processor of transformers: images to pixels, conversations to tokens."""

import importlib
import inspect
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from eagle_jax.errors import InputError, reason
from eagle_jax.models.checkpoints.tensor_files import read_json

_FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_NOT_FOR_IMAGES = ("video_processor", "feature_extractor", "audio_processor")
# Results of a processor that are not among the other arguments that describe the image.
_NOT_EXTRAS = {
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "labels",
    "pixel_values",
}


class Processed(NamedTuple):
    """An image and a text as a model takes them.

    Attributes:
      ids: token ids of the text, image tokens included, (s,).
      pixels: the argument ``pixel_values``, for a batch of one.
      extras: the other arguments that describe the image, by name.
    """

    ids: np.ndarray
    pixels: np.ndarray
    extras: dict[str, torch.Tensor]


class FamilyProcessor:
    """The processor of a checkpoint, as transformers has it for the family."""

    def __init__(self, folder: Path, tokenizer: Any, config: Any):
        self._folder = folder
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._processor = _build(folder, tokenizer, config)
        except Exception as error:  # processors raise any error at wrong settings
            raise InputError(
                f"the processor in {folder} cannot be read: {reason(error, 160)}"
            ) from error
        names = (getattr(self._processor, n, None) for n in ("boi_token", "image_token"))
        self._marks = [str(name) for name in names if name]

    def placeholder(self, rendered: str) -> str | None:
        """The text that stands for the image in a rendered conversation; None without any."""
        return next((mark for mark in self._marks if mark in rendered), None)

    def __call__(self, text: str, image: np.ndarray, add_special_tokens: bool) -> Processed:
        """Processes a rendered conversation with one image.

        Args:
          text: the conversation, with one placeholder.
          image: uint8 pixels, (H, W, 3).
          add_special_tokens: whether the text lacks the tokens that begin a sequence.

        Raises:
          InputError: the processor refuses the image or the text.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out = self._processor(
                    text=[text],
                    images=[Image.fromarray(image)],
                    return_tensors="pt",
                    add_special_tokens=add_special_tokens,
                )
        except Exception as error:  # processors raise any error
            raise InputError(
                f"the processor in {self._folder} cannot prepare the image: "
                f"{reason(error, 160)}"
            ) from error
        extras = {
            name: value
            for name, value in out.items()
            if name not in _NOT_EXTRAS | {"pixel_values"} and isinstance(value, torch.Tensor)
        }
        return Processed(
            out["input_ids"][0].numpy().astype(np.int32),
            out["pixel_values"].float().numpy(),
            extras,
        )

    def pixels_alone(self, image: np.ndarray) -> np.ndarray | None:
        """What the image processor makes of an image without a text; None if it refuses."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out = self._processor.image_processor(
                    images=[Image.fromarray(image)],
                    return_tensors="pt",
                    **getattr(self._processor, "images_kwargs", {}),
                )
            return out["pixel_values"].float().numpy()
        except Exception:  # some want arguments that the processor gives
            return None

    def image_settings(self) -> dict[str, Any]:
        """The image processor's settings, as in preprocessor_config.json."""
        settings = self._processor.image_processor.to_dict()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _build(folder: Path, tokenizer: Any, config: Any) -> Any:
    name = _class_name(folder) or PROCESSOR_MAPPING_NAMES.get(config.model_type)
    if name is None:
        raise ValueError(
            f"transformers names no processor for model_type {config.model_type!r}"
        )
    image_processor = AutoImageProcessor.from_pretrained(
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    cls = getattr(importlib.import_module("transformers"), name)
    accepted = inspect.signature(cls.__init__).parameters
    stored = read_json(path) if (path := folder / _FILES[0]).exists() else {}
    options = {**_by_model(config), **stored, **dict.fromkeys(_NOT_FOR_IMAGES)}
    options = {key: value for key, value in options.items() if key in accepted}
    options |= {
        "image_processor": image_processor,
        "tokenizer": tokenizer,
        "chat_template": tokenizer.chat_template,
    }
    return _for_images_only(cls, tokenizer)(**options)


def _for_images_only(cls: type, tokenizer: Any) -> type:
    """A processor's class that does without what it needs for videos."""
    module: Any = importlib.import_module(cls.__module__)
    if getattr(module, "num2words", "") is None:
        module.num2words = str  # SmolVLM spells the lengths of videos with it
    if not hasattr(tokenizer, "video_token"):
        tokenizer.video_token, tokenizer.video_token_id = "<video>", None

    class ForImages(cls):
        def check_argument_for_proper_class(self, *arguments: Any) -> None:
            """Accepts None, where a video processor would need torchvision."""

    ForImages.__name__ = cls.__name__
    return ForImages


def _by_model(config: Any) -> dict[str, Any]:
    """Settings of the processor that follow from the model, for folders without them."""
    vision: Any = getattr(config, "vision_config", None)
    strategy = getattr(config, "vision_feature_select_strategy", None)
    settings = {
        "patch_size": getattr(vision, "patch_size", None),
        "vision_feature_select_strategy": strategy,
    }
    if (tokens := getattr(config, "mm_tokens_per_image", None)) is not None:
        settings["image_seq_length"] = tokens
    if (ratio := getattr(config, "downsample_ratio", None)) is not None:
        sides = zip(vision.image_size, vision.patch_size, strict=True)
        settings["image_seq_length"] = int(np.prod([a // b for a, b in sides]) * ratio**2)
    if "clip" in str(getattr(vision, "model_type", "")):
        settings["num_additional_image_tokens"] = 1  # the class token
    return {name: value for name, value in settings.items() if value is not None}


def _class_name(folder: Path) -> str | None:
    for file in _FILES:
        path = folder / file
        if path.exists() and isinstance(name := read_json(path).get("processor_class"), str):
            return name
    return None
