"""A model's own answer about an image, without explaining it."""

import numpy as np
from jaxtyping import Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.patches import plan_image
from eagle_jax.scoring.model import Model, generate_answer, prompt_about


def generate(
    model: Model, image: ImageSource, prompt: str, max_new_tokens: int = 128
) -> Int32[np.ndarray, " a"]:
    """Answers a prompt about an image greedily: what `explain` explains without an answer.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      prompt: the question or instruction.
      max_new_tokens: length at which an answer without end token is cut.

    Returns:
      Token ids, the end token included; `model.tokenizer` has their text.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.
    """
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    pixels = read_image(image)
    one_region = np.zeros(pixels.shape[:2], np.int32)
    plan = plan_image(pixels, one_region, model.image_settings)
    return generate_answer(model, plan, prompt_about(model, plan, prompt), max_new_tokens)
