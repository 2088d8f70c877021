"""Greedy answers of a model to an image and to masked images, decoded in batches."""

import dataclasses
import functools
import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, Int, Int32
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import decode_answer, require_max_new_tokens
from eagle_jax.inputs.fill import DEFAULT_FILL, Fill, fill_pixels, read_fill
from eagle_jax.inputs.host_pixels import masked_pixels, plan_pixels
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.patches import ImagePlan, with_partial_sums
from eagle_jax.inputs.prompt import Dialogue, Tokenizer, opens_thought, require_context
from eagle_jax.metrics.hallucination import LABELS
from eagle_jax.metrics.thoughts import closes_thought, may_open_thought
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.layers import decoding
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.model import Model, prompt_about
from eagle_jax.scoring.question import lay_out, on_devices
from eagle_jax.scoring.scorer import (
    DEVICES,
    data_devices,
    filling_batch_size,
    padded_sets,
    require_batch_size,
)

# Largest number of tokens of an answer where no other number is given.
DEFAULT_MAX_NEW_TOKENS = 128
# Number of answers about one image for which it is worth the preparation.
_MANY_ANSWERS = 8


@checked
def generate(
    model: Model,
    image: ImageSource,
    prompt: str,
    *,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    system: str | None = None,
    thinking: str | None = None,
) -> Int32[np.ndarray, " a"]:
    """Answers a prompt about an image greedily, as `explain` does where no answer is given.

    The checkpoint's generation_config.json is heeded as by `generate(do_sample=False)` of
    transformers: penalties, forbidden and forced tokens, lengths and several end tokens.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      prompt: the question or instruction.
      max_new_tokens: largest number of tokens; a longer answer is cut.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.

    Returns:
      Token ids, the end token included; `model.tokenizer` decodes them.

    Raises:
      InputError: an argument cannot be used; the message says what to do.
    """
    pixels = read_image(image)
    one_region = np.zeros(pixels.shape[:2], np.int32)
    plan = plan_pixels(pixels, one_region, model.image_settings)
    prompt_ids = prompt_about(model, plan, prompt, Dialogue(system, thinking))
    return whole_answer(model, plan, prompt_ids, max_new_tokens)


def whole_answer(
    model: Model, plan: ImagePlan, prompt_ids: Int32[np.ndarray, " s"], max_new_tokens: int
) -> Int32[np.ndarray, " a"]:
    """The answer of `generate` to an image and a prompt that are prepared already.

    Args:
      model: from `eagle_jax.load`.
      plan: the image with any regions.
      prompt_ids: token ids of the expanded prompt.
      max_new_tokens: largest number of tokens; a longer answer is cut.

    Returns:
      Token ids, at least one.

    Raises:
      InputError: image and prompt fill the context, or max_new_tokens is below 1.
    """
    all_visible = np.ones((1, int(plan.labels.max()) + 1), bool)
    return _answers(model, plan, prompt_ids, all_visible, max_new_tokens)[0]


def regenerate(
    model: Model,
    image: ImageSource,
    labels: Int32[np.ndarray, "H W"],
    prompt: str,
    visible: Bool[np.ndarray, "b n"],
    *,
    fill: Fill = DEFAULT_FILL,
    max_new_tokens: int = 16,
    settle: Sequence[str] = LABELS,
    batch_size: int | None = None,
    system: str | None = None,
    thinking: str | None = None,
    progress: bool = False,
) -> list[str]:
    """Answers a prompt about masked images, greedily and in batches.

    A batch is finished when each of its answers has ended or is settled. An answer is settled
    by a token whose text is a word of ``settle``, regardless of case and of blanks and
    punctuation around the word ("Yes", " yes", "**No"), followed by one more token, which
    distinguishes "No" from "Nothing" in vocabularies that split such words. A rule that reads
    the first word of an answer finds the same word in the cut answer as in the whole answer.
    A model that spells the word in several tokens runs on to ``max_new_tokens``, and so does a
    model that thinks first, unless one token closes its thoughts: a word of the thought does
    not settle the answer.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      labels: int32 (H, W), the region of each pixel, 0 to n - 1.
      prompt: the question or instruction.
      visible: one row per answer, True for a visible region.
      fill: what is shown in place of hidden regions, as in `eagle_jax.ask`.
      max_new_tokens: largest number of tokens of an answer; 2 suffice for an answer that
        begins with Yes or No.
      settle: words that settle an answer; empty for whole answers.
      batch_size: answers per batch, a multiple of the number of devices along the mesh's
        "data" axis; None chooses.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
      progress: show a progress bar.

    Returns:
      Text of each answer without special tokens, in the order of the rows. If the chat
      template begins a thought, its mark stands in front of each text.

    Raises:
      InputError: an argument cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis: the published code generates for one
      masked image after the other, up to 128 tokens each.
    """
    pixels = read_image(image)
    if labels.shape != pixels.shape[:2]:
        raise InputError(f"labels are {labels.shape}, the image is {pixels.shape[:2]}")
    regions = int(labels.max()) + 1
    if visible.shape[1] != regions:
        raise InputError(f"visible has {visible.shape[1]} columns for {regions} regions")
    shown = fill_pixels(pixels, read_fill(fill, pixels))
    plan = plan_pixels(pixels, labels, model.image_settings, shown)
    if len(visible) >= _MANY_ANSWERS:
        with DEVICES:
            plan = with_partial_sums(plan)
    dialogue = Dialogue(system, thinking)
    prompt_ids = prompt_about(model, plan, prompt, dialogue)
    inside = opens_thought(model.tokenizer, dialogue)
    with tqdm(total=len(visible), disable=not progress, unit="answer", leave=False) as bar:
        answers = _answers(
            model,
            plan,
            prompt_ids,
            visible,
            max_new_tokens,
            settle,
            thinking=inside,
            batch_size=batch_size,
            on_progress=bar.update,
        )
    return [answer_text(model, ids, inside) for ids in answers]


def answer_text(model: Model, ids: Int[np.ndarray, " a"], thinking: bool) -> str:
    """Text of an answer, with its whole thought.

    Args:
      model: the model that answered.
      ids: token ids of the answer.
      thinking: True if the prompt ends inside a thought, which the answer then only closes.

    Returns:
      The text without special tokens, from the mark that opens the thought on.
    """
    text = decode_answer(model.tokenizer, ids)
    return f"<think>\n{text}" if thinking else text


def _answers(
    model: Model,
    plan: ImagePlan,
    prompt_ids: np.ndarray,
    visible: np.ndarray,
    max_new_tokens: int,
    settle: Sequence[str] = (),
    *,
    thinking: bool = False,
    batch_size: int | None = None,
    on_progress: Callable[[int], Any] = lambda answers: None,
) -> list[np.ndarray]:
    network = model.network
    context = network.config.decoder.context
    require_max_new_tokens(max_new_tokens)
    require_context(len(prompt_ids) + 1, plan.tokens, context)
    max_new_tokens = min(max_new_tokens, context - len(prompt_ids))

    cached = not hasattr(network, "next_logits")
    mesh, devices = mesh_of(network), data_devices(network)
    if batch_size is None:
        tokens = max(math.prod(plan.grid), len(prompt_ids))
        batch_size = filling_batch_size(tokens, devices, jax.default_backend())
    else:
        require_batch_size(batch_size, devices)
    # A single answer needs no whole batch; powers of two keep the number of programs small.
    needed = devices * 2 ** math.ceil(math.log2(max(1, len(visible) / devices)))
    batch_size = min(batch_size, needed)
    # This question has a single row, behind which the answer begins. A model without a cache
    # reads the answer in its place behind the prompt.
    first = np.zeros(1, np.int32)
    places = 0 if cached else max_new_tokens - 1
    spare = np.full(places, prompt_ids[-1], np.int32)
    question = lay_out(network, plan, prompt_ids, spare, first + places, first)
    question = dataclasses.replace(question, rows=question.rows - np.int32(places))
    question = on_devices(network, question.padded)
    end_ids = np.array(model.end_ids, np.int32)
    settling = settling_tokens(model.tokenizer, settle) if settle else None
    vocabulary = network.config.decoder.vocabulary
    rules = model.generation.rules(model.end_ids, len(prompt_ids), vocabulary)
    spread = None if mesh is None else NamedSharding(mesh, PartitionSpec("data"))

    answers = []
    for start in range(0, len(visible), batch_size):
        part = visible[start : start + batch_size]
        # A repeated row is settled when the row itself is.
        sets = np.pad(part, ((0, batch_size - len(part)), (0, 0)), mode="edge")
        sets = jax.device_put(padded_sets(sets), spread)
        with DEVICES:
            new = _decode(
                network,
                question,
                sets,
                end_ids,
                settling,
                np.bool_(thinking),
                rules,
                max_new_tokens=max_new_tokens,
            )
        new = np.asarray(new)
        answers += [row[row >= 0] for row in new[: len(part)]]
        on_progress(len(part))
    return answers


@functools.partial(jax.jit, static_argnames="max_new_tokens")
def _decode(network, question, visible, end_ids, settling, thinking, rules, *, max_new_tokens):
    patches = masked_pixels(question.plan, visible)
    with full_precision(network):
        visual = network.visual_tokens(patches, question.layout)
        embeddings = network.embed(question.ids, visual, question.start)
        length = question.rows[0] + 1
        if hasattr(network, "next_logits"):
            logits, state, advance = network.next_logits(embeddings, question.positions, length)
            return decoding.continue_greedily(
                logits,
                state,
                advance,
                length,
                end_ids,
                max_new_tokens,
                prompt_ids=question.ids,
                settling=settling,
                thinking=thinking,
                rules=rules,
            )
        return decoding.generate(
            network,
            embeddings,
            question.positions,
            length,
            end_ids,
            max_new_tokens,
            settling=settling,
            thinking=thinking,
            rules=rules,
            prompt_ids=question.ids,
        )


def settling_tokens(tokenizer: Tokenizer, words: Sequence[str]) -> decoding.Settling:
    """Tokens that settle an answer, and tokens after or behind which they do not.

    Args:
      tokenizer: tokenizer of the model.
      words: words that settle an answer, such as Yes and No.

    Returns:
      Ids whose text is one of the words, regardless of case and of blanks and punctuation
      around it; ids that end in a hyphen, an apostrophe or an unfinished character, after
      which "No" can still become "No-one"; ids with which a thought may begin; and ids that end
      a thought. All are empty without words.
    """
    wanted = {word.strip(_AROUND).lower() for word in words} - {""}
    texts = _vocabulary(tokenizer) if wanted else ()

    def where(chosen: Callable[[str], bool]) -> Int32[np.ndarray, " _"]:
        return np.array([i for i, text in enumerate(texts) if chosen(text)], np.int32)

    return decoding.Settling(
        words=where(lambda text: text.strip(_AROUND).lower() in wanted),
        joints=where(lambda text: text.endswith(_JOINTS)),
        opening=where(may_open_thought),
        closing=where(closes_thought),
    )


_AROUND = string.whitespace + string.punctuation
_JOINTS = ("-", "'", "\u2019", "\N{REPLACEMENT CHARACTER}")


@functools.lru_cache(maxsize=1)
def _vocabulary(tokenizer: Tokenizer) -> tuple[str, ...]:
    return tuple(tokenizer.batch_decode([[i] for i in range(len(tokenizer))]))
