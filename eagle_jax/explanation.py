"""From an image and a prompt to an attribution: the whole story."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import (
    decode_answer,
    encode_answer,
    find_target,
    find_target_ids,
    token_texts,
)
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.regions import segment
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.model import Model, generate_answer, prompt_about
from eagle_jax.scoring.question import ask
from eagle_jax.scoring.scorer import MaskedImageScorer
from eagle_jax.search import Found, greedy

_SEARCHES = {"exact": greedy}


def explain(
    model: Model,
    image: ImageSource,
    prompt: str,
    answer: str | Sequence[int] | np.ndarray | None = None,
    target: str | Sequence[int] | np.ndarray | None = None,
    target_ids: str | Sequence[int | str] | np.ndarray | None = None,
    regions: int | str | np.ndarray = 64,
    search: str = "exact",
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    batch_size: int | None = None,
    max_new_tokens: int = 128,
    published_rounding: bool = False,
    progress: bool = False,
) -> Attribution:
    """Finds which regions of an image an answer rests on.

    The image is cut into regions, and a search orders them so that early regions both
    suffice for the target tokens and cannot be spared: each step adds the region that most
    raises the mean over targets of
    ``insight_weight * p(token | chosen) + necessity_weight * (1 - p(token | rest))``.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      prompt: the question or instruction.
      answer: the answer to explain, as text or token ids; None lets the model answer.
      target: what to explain in the answer: None for every token, a word or phrase, or
        positions of tokens.
      target_ids: tokens to score at those positions instead of the answer's own, as ids or
        texts: "No" where the model said "Yes" asks what speaks for the other answer.
      regions: about so many SLICO regions, a form such as "grid:8x8", or an integer label
        map (H, W).
      search: "exact".
      insight_weight: lambda 1, weight of sufficiency.
      necessity_weight: lambda 2, weight of indispensability.
      batch_size: masked images per forward; None chooses.
      max_new_tokens: limit of an answer the model gives itself.
      published_rounding: round pixels, logits and probabilities as the published code does,
        see `eagle_jax.scoring.question.ask`; only to compare with its figures.
      progress: show a progress bar.

    Returns:
      The attribution.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """
    check_search(search, insight_weight, necessity_weight)
    begin = time.perf_counter()
    case = prepare(
        model,
        image,
        prompt,
        answer,
        target,
        target_ids,
        regions,
        batch_size,
        max_new_tokens,
        published_rounding,
    )
    found = _SEARCHES[search](case.scorer, insight_weight, necessity_weight, progress)
    seconds = time.perf_counter() - begin
    return conclude(model, case, found, search, insight_weight, necessity_weight, seconds)


def check_search(search: str, insight_weight: float, necessity_weight: float) -> None:
    """Refuses a search that does not exist or cannot be weighted so; worth asking early.

    Args:
      search: its name.
      insight_weight: lambda 1.
      necessity_weight: lambda 2.

    Raises:
      InputError: something is wrong with them.
    """
    if search not in _SEARCHES:
        raise InputError(f"search is {search!r}; it must be one of {', '.join(_SEARCHES)}")
    weights = (insight_weight, necessity_weight)
    if not all(np.isfinite(w) and w >= 0 for w in weights) or sum(weights) == 0:
        raise InputError(
            f"insight_weight and necessity_weight are {weights[0]} and {weights[1]}; "
            "they must be 0 or more, and not both 0"
        )


class Case(NamedTuple):
    """An image, a prompt and an answer, ready to be searched.

    Attributes:
      image: uint8 (H, W, 3).
      prompt: the user's text.
      prompt_ids: it in the chat template, around the image's tokens.
      answer_ids: the whole answer.
      target: positions in the answer that are scored.
      token_ids: the ids scored there.
      scorer: the set function.
    """

    image: np.ndarray
    prompt: str
    prompt_ids: Int32[np.ndarray, " s"]
    answer_ids: Int32[np.ndarray, " a"]
    target: Int32[np.ndarray, " t"]
    token_ids: Int32[np.ndarray, " t"]
    scorer: MaskedImageScorer


def conclude(
    model: Model,
    case: Case,
    found: Found,
    search: str,
    insight_weight: float,
    necessity_weight: float,
    seconds: float,
) -> Attribution:
    """The attribution that a search found.

    Args:
      model: from `eagle_jax.load`.
      case: what was explained, from `prepare`.
      found: what the search returned.
      search: its name.
      insight_weight: lambda 1.
      necessity_weight: lambda 2.
      seconds: that it took.

    Returns:
      The attribution, with its image.
    """
    tokenizer = model.tokenizer
    return Attribution(
        image=case.image,
        labels=case.scorer.labels,
        order=found.order,
        insertion=found.insertion,
        deletion=found.deletion,
        prompt=case.prompt,
        answer=decode_answer(tokenizer, case.answer_ids),
        answer_ids=case.answer_ids,
        answer_tokens=token_texts(tokenizer, case.answer_ids),
        target=case.target,
        token_ids=case.token_ids,
        tokens=case.scorer.tokens,
        insight_weight=float(insight_weight),
        necessity_weight=float(necessity_weight),
        model=model.name,
        options={"search": search},
        forwards=found.forwards,
        seconds=seconds,
    )


def scorer(
    model: Model,
    image: ImageSource,
    prompt: str,
    answer: str | Sequence[int] | np.ndarray | None = None,
    target: str | Sequence[int] | np.ndarray | None = None,
    target_ids: str | Sequence[int | str] | np.ndarray | None = None,
    regions: int | str | np.ndarray = 64,
    batch_size: int | None = None,
    max_new_tokens: int = 128,
    published_rounding: bool = False,
) -> MaskedImageScorer:
    """The set function of one explanation, for people who bring their own search.

    Args:
      model: as for `explain`, like all the others.
      image: see `explain`.
      prompt: see `explain`.
      answer: see `explain`.
      target: see `explain`.
      target_ids: see `explain`.
      regions: see `explain`.
      batch_size: see `explain`.
      max_new_tokens: see `explain`.
      published_rounding: see `explain`.

    Returns:
      A callable from Bool[b, n] visible regions to Float32[b, t] probabilities.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.
    """
    return prepare(
        model,
        image,
        prompt,
        answer,
        target,
        target_ids,
        regions,
        batch_size,
        max_new_tokens,
        published_rounding,
    ).scorer


def prepare(
    model: Model,
    image: ImageSource,
    prompt: str,
    answer: str | Sequence[int] | np.ndarray | None = None,
    target: str | Sequence[int] | np.ndarray | None = None,
    target_ids: str | Sequence[int | str] | np.ndarray | None = None,
    regions: int | str | np.ndarray = 64,
    batch_size: int | None = None,
    max_new_tokens: int = 128,
    published_rounding: bool = False,
) -> Case:
    """All of an explanation that comes before the search; its arguments are `explain`'s.

    Returns:
      The case; its model has answered where no answer was given.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.
    """
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    tokenizer, network = model.tokenizer, model.network
    pixels = read_image(image)
    labels = segment(pixels, regions)
    plan = plan_image(pixels, labels, model.image_settings)
    prompt_ids = prompt_about(model, plan, prompt)
    if answer is None:
        answer_ids = generate_answer(model, plan, prompt_ids, max_new_tokens)
    else:
        answer_ids = encode_answer(tokenizer, answer)
    positions = find_target(tokenizer, answer_ids, target)
    token_ids = find_target_ids(tokenizer, answer_ids, positions, target_ids)
    question = ask(
        network, plan, prompt_ids, answer_ids, positions, token_ids, published_rounding
    )
    tokens = token_texts(tokenizer, token_ids)
    return Case(
        image=pixels,
        prompt=prompt,
        prompt_ids=prompt_ids,
        answer_ids=answer_ids,
        target=positions,
        token_ids=token_ids,
        scorer=MaskedImageScorer(network, question, labels, tokens, batch_size),
    )
