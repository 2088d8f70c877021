"""`ask`: an image, a prompt and an answer, ready to be explained."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from eagle_jax.argument_types import checked
from eagle_jax.inputs.answer import (
    Place,
    answer_position,
    decode_answer,
    encode_answer,
    find_target,
    find_target_ids,
    require_max_new_tokens,
    token_texts,
)
from eagle_jax.inputs.fill import DEFAULT_FILL, Fill, fill_pixels, read_fill
from eagle_jax.inputs.host_pixels import plan_pixels
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.patches import with_partial_sums
from eagle_jax.inputs.pixel_budget import with_pixel_bounds
from eagle_jax.inputs.prompt import Dialogue, opens_thought
from eagle_jax.inputs.regions import DEFAULT_REGIONS, Regions, segment
from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS, whole_answer
from eagle_jax.scoring.model import Model, prompt_about
from eagle_jax.scoring.question import Question, lay_out, on_devices
from eagle_jax.scoring.scorer import DEVICES, MaskedImageScorer

Answer = str | Sequence[int] | np.ndarray
Target = str | Sequence[int] | np.ndarray | Place
TargetIds = str | Sequence[int | str] | np.ndarray


@checked
@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """An image, a prompt and an answer, ready to be explained.

    Attributes:
      model: the model that answers.
      image: RGB image.
      fill: what is shown in place of hidden regions: "black", "mean", "blur", or an image.
      prompt: the user's text.
      prompt_ids: token ids of the prompt in the chat template, image tokens included.
      answer_ids: token ids of the whole answer.
      positions: positions in the answer that are scored.
      token_ids: token ids scored at these positions.
      scorer: the set function, from visible regions to probabilities of the target tokens.
      dialogue: system message, and whether the model thinks before it answers.
      generated: True if the answer is the model's own.
    """

    model: Model
    image: UInt8[np.ndarray, "H W 3"]
    fill: str | UInt8[np.ndarray, "H W 3"]
    prompt: str
    prompt_ids: Int32[np.ndarray, " s"]
    answer_ids: Int32[np.ndarray, " a"]
    positions: Int32[np.ndarray, " t"]
    token_ids: Int32[np.ndarray, " t"]
    scorer: MaskedImageScorer
    dialogue: Dialogue = Dialogue()
    generated: bool = False

    @property
    def question(self) -> Question:
        """The pytree that `eagle_jax.score` and the other pure functions take."""
        return self.scorer.question

    @property
    def labels(self) -> Int32[np.ndarray, "H W"]:
        """Region of every pixel."""
        return self.scorer.labels

    @property
    def answer(self) -> str:
        """The answer as text, without special tokens."""
        return decode_answer(self.model.tokenizer, self.answer_ids)

    @property
    def answer_tokens(self) -> tuple[str, ...]:
        """The text of each token of the answer."""
        return token_texts(self.model.tokenizer, self.answer_ids)

    @property
    def thinks(self) -> bool:
        """True if the answer begins with a thought, or the chat template begins one."""
        return self._opened or self._answer_position != 0

    @property
    def cut(self) -> str:
        """Where max_new_tokens cut the model's answer, in one line; empty if it did not."""
        if not self.generated or int(self.answer_ids[-1]) in self.model.end_ids:
            return ""
        inside = " inside the thought" if self._answer_position is None else ""
        return (
            f"the answer ends{inside} after {len(self.answer_ids)} tokens: raise "
            "max_new_tokens for the whole answer"
        )

    @property
    def _opened(self) -> bool:
        return opens_thought(self.model.tokenizer, self.dialogue)

    @property
    def _answer_position(self) -> int | None:
        return answer_position(self.model.tokenizer, self.answer_ids, self._opened)


class AskSettings(NamedTuple):
    """How questions are asked: the arguments of `ask` that many questions share.

    Attributes:
      regions: the regions of an image, as in `ask`.
      fill: what is shown in place of hidden regions, as in `ask`.
      max_new_tokens: largest number of tokens of an answer that the model generates.
      batch_size: masked images per batch, over all devices; None chooses.
      published_rounding: round pixels, logits and probabilities as the published code does.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
    """

    regions: Regions = DEFAULT_REGIONS
    fill: Fill = DEFAULT_FILL
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    batch_size: int | None = None
    published_rounding: bool = False
    system: str | None = None
    thinking: str | None = None


@checked
def ask(
    model: Model,
    image: ImageSource,
    prompt: str,
    *,
    answer: Answer | None = None,
    target: Target | None = None,
    target_ids: TargetIds | None = None,
    regions: Regions = DEFAULT_REGIONS,
    fill: Fill = DEFAULT_FILL,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    batch_size: int | None = None,
    published_rounding: bool = False,
    system: str | None = None,
    thinking: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Case:
    """Asks a model about an image: all that precedes the search of an explanation.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      prompt: the question or instruction.
      answer: the answer to explain, as text or token ids; None lets the model answer.
      target: part of the answer to explain: None for every token; a word or phrase, which is
        looked for behind the thought of a model that thinks first; or positions of tokens.
      target_ids: tokens to score at the target instead of the answer's own tokens, as ids or
        texts: "No" where the model said "Yes" asks what supports the other answer.
      regions: approximate number of SLICO superpixels, a grid such as "grid:8x8", or an
        integer label map (H, W).
      fill: what is shown in place of hidden regions: "black", "mean" (the image's mean
        colour), "blur", or an image of the same size.
      max_new_tokens: largest number of tokens of an answer that the model generates.
      batch_size: masked images per batch, over all devices; a multiple of the number of
        devices along the mesh's "data" axis. None chooses what fills the devices.
      published_rounding: round pixels, logits and probabilities as the published code does;
        for comparisons with published figures only.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one;
        None leaves the template as it is.
      min_pixels, max_pixels: bounds of the number of pixels that the image is resized to, for
        models of Qwen; None keeps the model's, see `eagle_jax.load`.

    Returns:
      The case. Its answer is the model's own where none was given.

    Raises:
      InputError: an argument cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, section 3.1.
    """
    require_max_new_tokens(max_new_tokens)
    settings = with_pixel_bounds(model.image_settings, min_pixels, max_pixels)
    if settings is not model.image_settings:
        model = dataclasses.replace(model, image_settings=settings)
    tokenizer, network = model.tokenizer, model.network
    pixels = read_image(image)
    labels = segment(pixels, regions)
    shown = read_fill(fill, pixels)
    plan = plan_pixels(pixels, labels, model.image_settings, fill_pixels(pixels, shown))
    with DEVICES:
        plan = with_partial_sums(plan)
    dialogue = Dialogue(system, thinking)
    prompt_ids = prompt_about(model, plan, prompt, dialogue)
    if answer is None:
        answer_ids = whole_answer(model, plan, prompt_ids, max_new_tokens)
    else:
        answer_ids = encode_answer(tokenizer, answer)
    inside = opens_thought(tokenizer, dialogue)
    positions = find_target(tokenizer, answer_ids, target, inside)
    token_ids = find_target_ids(tokenizer, answer_ids, positions, target_ids)
    question = lay_out(
        network,
        plan,
        prompt_ids,
        answer_ids,
        positions,
        token_ids,
        published_rounding=published_rounding,
    )
    scorer = MaskedImageScorer(
        network,
        on_devices(network, question),
        labels,
        token_texts(tokenizer, token_ids),
        batch_size,
    )
    return Case(
        model=model,
        image=pixels,
        fill=shown,
        prompt=prompt,
        prompt_ids=prompt_ids,
        answer_ids=answer_ids,
        positions=positions,
        token_ids=token_ids,
        scorer=scorer,
        dialogue=dialogue,
        generated=answer is None,
    )


def divided_again(case: Case, labels: Int32[np.ndarray, "H W"]) -> Case:
    """The same question about the same image with other regions.

    Args:
      case: the question; its batch size and device arrays are kept.
      labels: region of every pixel.
    """
    scorer, plan = case.scorer, case.question.plan
    height, width = labels.shape
    rows, columns = plan.labels.shape
    padded = np.pad(labels, ((0, rows - height), (0, columns - width)))
    plan = dataclasses.replace(plan, labels=padded)
    question = on_devices(scorer.network, dataclasses.replace(case.question, plan=plan))
    again = MaskedImageScorer(
        scorer.network, question, labels, scorer.tokens, scorer.batch_size
    )
    return dataclasses.replace(case, scorer=again)
