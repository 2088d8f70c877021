"""Images of models that run by the bridge, as the processor of their family prepares them.

Where the processor's steps are those of `eagle_jax.inputs.processors`, the plan is an ordinary
`ImagePlan`, and the scoring program prepares masked images on the device. Otherwise it is a
`HostPlan`: the program asks the host for the pixels of each masked image.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.inputs.chat_templates import lacks_begin
from eagle_jax.inputs.image_settings import Frame, ImageSettings
from eagle_jax.inputs.patches import ImagePlan, masked_patches, plan_image
from eagle_jax.inputs.prompt import Dialogue, build_prompt, render

_BLACK = np.zeros((1, 1, 3), np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HostSettings(ImageSettings):
    """The processor of a family, which runs on the host.

    Attributes:
      prepare: from uint8 pixels (H, W, 3) to float32 pixels as the model takes them.
      describe: from uint8 pixels to what stands in the plan for the grid of patches: a tuple of
        1 and the number of visual tokens, equal for images that share a program. Its attribute
        ``image`` is the image, ``pixels`` are its pixels as the model takes them, and the
        method ``as_argument`` brings patches to their shape.
      tokenize: from a rendered conversation, uint8 pixels and whether tokens that begin a
        sequence are to be added, to token ids with all image tokens.
      placeholder: the text that the chat template writes for an image.
      device: settings with which `masked_patches` gives the same pixels; None if there are
        none. Each image is compared, bit for bit.
    """

    prepare: Callable[[np.ndarray], np.ndarray]
    describe: Callable[[np.ndarray], Any]
    tokenize: Callable[[str, np.ndarray, bool], np.ndarray]
    placeholder: str
    device: ImageSettings | None = None

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """Refuses: where a visual token lies in the image is not known.

        Raises:
          InputError: always.
        """
        raise InputError(
            "where the patches of a model that runs by the bridge lie is not known; take a "
            "ported model, or regions other than patches"
        )


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
    if settings.device is not None:
        plan = plan_image(image, labels, settings.device, fill)
        if _equal(_whole_patches(plan), grid):
            return dataclasses.replace(plan, grid=grid, merge_size=1)
    blank = np.broadcast_to(fill, image.shape)
    if settings.describe(np.ascontiguousarray(blank)) != grid:
        raise InputError(
            "the image processor gives a blank image of the same size another number of "
            "tokens or another shape; models whose tokens depend on pixels are not supported"
        )
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
        shape=_matrix(settings.prepare(image)).shape,
    )


@jax.jit
def _whole_patches(plan: ImagePlan) -> Float32[Array, "p c"]:
    return masked_patches(plan, jnp.ones((1, 1), bool))[0]


def _equal(patches: Array, grid: Any) -> bool:
    try:
        return np.array_equal(grid.as_argument(patches), grid.pixels)
    except (TypeError, ValueError):  # the number of pixels differs
        return False


def host_prompt(
    tokenizer: Any, settings: HostSettings, plan: ImagePlan, text: str, dialogue: Dialogue
) -> Int32[np.ndarray, " s"]:
    """Token ids of a conversation as the processor writes it; see `build_prompt`.

    Args:
      tokenizer: the model's tokenizer.
      settings: the processor.
      plan: the planned image.
      text: the question or instruction.
      dialogue: system message, and whether the model thinks before it answers.

    Raises:
      InputError: as of `build_prompt`.
    """
    mark = tokenizer.convert_tokens_to_ids(settings.placeholder)
    build_prompt(tokenizer, text, 1, mark, dialogue)  # for its checks
    rendered = render(tokenizer, text, dialogue)
    image = plan.grid.image  # pyright: ignore[reportAttributeAccessIssue]
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
