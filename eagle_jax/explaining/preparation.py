"""From an item of a list to a case; images are read while the devices are busy."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

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

# Number of images that are read and divided ahead of time.
_AHEAD = 4
Divided = tuple[UInt8[np.ndarray, "H W 3"], Int32[np.ndarray, "H W"]]


def read_ahead(
    items: Sequence[Item], regions: Regions
) -> Iterator[tuple[Item, "Future[Divided]"]]:
    """Reads and divides the images of items in a thread, a few of them ahead of time.

    Args:
      items: items of a list.
      regions: the regions of each image, as in `eagle_jax.ask`.

    Yields:
      Each item with its future image and label map.
    """

    def read(item: Item) -> Divided:
        image = read_image(item.image)
        return image, segment(image, regions)

    with ThreadPoolExecutor(1) as reader:
        ahead: list[tuple[Item, Future[Divided]]] = []
        try:
            for item in items:
                ahead.append((item, reader.submit(read, item)))
                if len(ahead) > _AHEAD:
                    yield ahead.pop(0)
            while ahead:
                yield ahead.pop(0)
        finally:
            for _, future in ahead:
                future.cancel()


def prepare_case(
    model: Model,
    item: Item,
    divided: "Future[Divided]",
    settings: AskSettings,
) -> Case:
    """Asks a model the question of an item.

    An item with a label but no target is asked what speaks for the label: the label is scored
    in place of the first token of the answer, behind the thought of a model that thinks first.

    Args:
      model: from `eagle_jax.load`.
      item: the question.
      divided: image and label map of the item, from `read_ahead`.
      settings: how questions are asked; `settings.regions` is ignored.

    Raises:
      InputError: the image cannot be read, the question cannot be asked, its prompt has other
        tokens than the list says, or its boxes are not in the frame of the image.
    """
    image, labels = divided.result()
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
