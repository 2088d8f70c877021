"""From an item of a list to a case, in a thread of its own while the devices are busy."""

import numpy as np
from jaxtyping import Int32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import Place
from eagle_jax.inputs.images import read_image
from eagle_jax.inputs.regions import Regions, segment
from eagle_jax.lists import Item
from eagle_jax.lists.frames import require_frame
from eagle_jax.lists.prompts import prompt_difference
from eagle_jax.scoring.case import AskSettings, Case, Target, ask
from eagle_jax.scoring.model import Model


def read_divided(
    item: Item, regions: Regions
) -> tuple[UInt8[np.ndarray, "H W 3"], Int32[np.ndarray, "H W"]]:
    """Reads the image of an item and divides it.

    Args:
      item: an item of a list.
      regions: the regions of each image, as in `eagle_jax.ask`.

    Returns:
      The image and its label map.

    Raises:
      InputError: the image cannot be read or divided.
    """
    image = read_image(item.image)
    return image, segment(image, regions)


def prepare_case(
    model: Model,
    item: Item,
    image: UInt8[np.ndarray, "H W 3"],
    labels: Int32[np.ndarray, "H W"],
    settings: AskSettings,
) -> Case:
    """Asks a model the question of an item.

    An item with a label but no target is asked what speaks for the label: the label is scored
    in place of the first token of the answer, behind the thought of a model that thinks first.

    Args:
      model: from `eagle_jax.load`.
      item: the question.
      image: image of the item.
      labels: its label map, from `read_divided`.
      settings: how questions are asked; `settings.regions` is ignored.

    Raises:
      InputError: the question cannot be asked, its prompt has other
        tokens than the list says, or its boxes are not in the frame of the image.
    """
    require_frame(item, *image.shape[:2])
    target: Target | None = item.target
    target_ids = item.target_ids
    if item.label is not None and target is None and target_ids is None:
        target, target_ids = Place.FIRST, (item.label,)
    case = ask(
        model,
        image,
        item.prompt,
        answer=item.answer,
        target=target,
        target_ids=target_ids,
        **settings._replace(regions=labels)._asdict(),
    )
    if item.prompt_ids is not None:
        prompt_ids = case.prompt_ids.tolist()
        if difference := prompt_difference(item.prompt_ids, prompt_ids, model.tokenizer):
            raise InputError(difference)
    return case
