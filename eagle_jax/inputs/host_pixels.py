"""Images that a processor on the host prepares, one masked image after the other.

The general way, for image processors whose steps are not in `eagle_jax.inputs.processors`: the
scoring program asks the host for the pixels of each batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.inputs.chat_templates import lacks_begin
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.patches import ImagePlan, masked_patches, plan_image
from eagle_jax.inputs.prompt import Dialogue, build_prompt, render

_BLACK = np.zeros((1, 1, 3), np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HostSettings(ImageSettings):
    """Settings of a processor that runs on the host.

    Attributes:
      prepare: from uint8 pixels (H, W, 3) to float32 pixels as the model takes them.
      describe: from uint8 pixels to what stands in the plan for the grid of patches: a tuple of
        1 and the number of visual tokens, equal for images that share a program.
      tokenize: from a rendered conversation, uint8 pixels and whether tokens that begin a
        sequence are to be added, to token ids with all image tokens.
      placeholder: the text that the chat template writes for an image.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    describe: Callable[[np.ndarray], tuple[int, int]]
    tokenize: Callable[[str, np.ndarray, bool], np.ndarray]
    placeholder: str


@jax.tree_util.register_dataclass
@no_type_check
@dataclasses.dataclass(frozen=True)
class HostPlan(ImagePlan):
    """An image whose masked images a processor on the host prepares; a pytree.

    Attributes:
      settings: the processor.
      shape: numbers of rows and columns of the prepared pixels of one image, as a matrix.
    """

    settings: HostSettings = dataclasses.field(metadata={"static": True})
    shape: tuple[int, int] = dataclasses.field(metadata={"static": True})


def plan_pixels(
    image: UInt8[np.ndarray, "H W 3"],
    labels: Int32[np.ndarray, "H W"],
    settings: ImageSettings,
    fill: UInt8[np.ndarray, "_ _ 3"] = _BLACK,
) -> ImagePlan:
    """Prepares one image and its regions for `masked_pixels`; arguments as for `plan_image`.

    Raises:
      InputError: the image processor cannot prepare such an image.
    """
    if not isinstance(settings, HostSettings):
        return plan_image(image, labels, settings, fill)
    grid = settings.describe(image)
    blank = np.broadcast_to(fill, image.shape)
    if settings.describe(np.ascontiguousarray(blank)) != grid:
        raise InputError(
            "the image processor gives a blank image of the same size another number of "
            "tokens or another shape; models whose tokens depend on pixels are not supported"
        )
    whole = settings.prepare(image)
    return HostPlan(
        image=image.transpose(2, 0, 1),
        fill=fill.transpose(2, 0, 1),
        labels=labels,
        views=(),
        table=np.zeros((3, 256), np.float32),
        grid=grid,
        patch_size=1,
        merge_size=1,
        settings=settings,
        shape=_matrix(whole).shape,
    )


def host_prompt(
    tokenizer: Any, plan: HostPlan, text: str, dialogue: Dialogue
) -> Int32[np.ndarray, " s"]:
    """Token ids of a conversation as the processor writes it; see `build_prompt`.

    Args:
      tokenizer: the model's tokenizer.
      plan: the planned image.
      text: the question or instruction.
      dialogue: system message, and whether the model thinks before it answers.

    Raises:
      InputError: as of `build_prompt`.
    """
    settings = plan.settings
    mark = tokenizer.convert_tokens_to_ids(settings.placeholder)
    build_prompt(tokenizer, text, 1, mark, dialogue)  # for its checks
    rendered = render(tokenizer, text, dialogue)
    image = np.ascontiguousarray(np.asarray(plan.image).transpose(1, 2, 0))
    return settings.tokenize(rendered, image, lacks_begin(tokenizer, rendered))


def masked_pixels(plan: ImagePlan, visible: Bool[Array, "b n"]) -> Float32[Array, "b p c"]:
    """Prepares masked images as the processor would; see `masked_patches`.

    Args:
      plan: from `plan_pixels`.
      visible: one row per masked image, True for a visible region.

    Returns:
      Patches, or for a `HostPlan` the processor's pixels as a matrix for each image.
    """
    if not isinstance(plan, HostPlan):
        return masked_patches(plan, visible)
    result = jax.ShapeDtypeStruct((len(visible), *plan.shape), np.float32)

    def prepare(image, fill, labels, visible):
        arrays = (np.asarray(array) for array in (image, fill, labels, visible))
        return prepare_masked(plan.settings, *arrays)

    return jax.pure_callback(
        prepare, result, plan.image, plan.fill, plan.labels, visible, vmap_method="sequential"
    )


def prepare_masked(
    settings: HostSettings,
    image: np.ndarray,
    fill: np.ndarray,
    labels: np.ndarray,
    visible: np.ndarray,
) -> np.ndarray:
    """The pixels of masked images, (b, p, c); equal sets are prepared once.

    Args:
      settings: the processor.
      image, fill, labels: as in the plan.
      visible: one row per masked image, True for a visible region.
    """
    prepared: dict[bytes, Any] = {}
    for row in visible:
        if (key := row.tobytes()) not in prepared:
            masked = np.where(row[labels], image, fill).transpose(1, 2, 0)
            prepared[key] = _matrix(settings.prepare(np.ascontiguousarray(masked)))
    return np.stack([prepared[row.tobytes()] for row in visible])


def _matrix(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1, pixels.shape[-1])
