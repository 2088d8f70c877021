"""A model's own answers about an image with parts hidden: many at once, stopped early."""

import functools
import math
import string
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int, Int32
from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import decode_answer
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.patches import masked_patches, plan_image
from eagle_jax.inputs.prompt import Tokenizer, require_context
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.layers.decoding import generate
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.model import Model, prompt_about
from eagle_jax.scoring.scorer import filling_batch_size

# Lengths and numbers of regions share a program up to the next multiple.
_BUCKET = 16


def regenerate(
    model: Model,
    image: ImageSource,
    labels: Int32[np.ndarray, "H W"],
    prompt: str,
    visible: Bool[np.ndarray, "b n"],
    max_new_tokens: int = 16,
    settle: Sequence[str] = ("Yes", "No"),
    batch_size: int | None = None,
    progress: bool = False,
) -> list[str]:
    """Asks a model again and again, each time with only some regions of the image visible.

    Answers are greedy and are decoded in batches. A batch is finished when each of its
    answers has ended or is settled: it has a token whose text is one of ``settle``, whatever
    its case and the blanks and punctuation around it ("Yes", " yes", "**No"), and the token
    after that, which tells "No" from "Nothing" in vocabularies that split such words. A rule
    that reads the first word of an answer therefore finds in the cut answer what it would have
    found in the whole one. A model that spells such a word in pieces goes on to
    ``max_new_tokens``.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      labels: int32 (H, W), the region of each pixel, 0 to n - 1.
      prompt: the question or instruction.
      visible: one row per answer, True for a visible region; the others are black.
      max_new_tokens: limit of an answer; 2 are enough for a model that begins with Yes or No.
      settle: words that settle an answer; none for whole answers.
      batch_size: answers decoded at once, a multiple of the devices along the mesh's "data"
        axis; None chooses.
      progress: show a progress bar.

    Returns:
      The answers' texts without special tokens, in the order of the rows.

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
    network, tokenizer = model.network, model.tokenizer
    plan = plan_image(pixels, labels, model.image_settings)
    image_token = network.config.image_token_id
    prompt_ids = prompt_about(model, plan, prompt)
    image_tokens = int(np.sum(prompt_ids == image_token))
    context = network.config.decoder.context
    require_context(len(prompt_ids) + 1, image_tokens, context)
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")

    mesh = mesh_of(network)
    devices = 1 if mesh is None else mesh.shape["data"]
    if batch_size is None:
        tokens = max(math.prod(plan.grid), len(prompt_ids))
        batch_size = filling_batch_size(tokens, devices, jax.default_backend())
    elif batch_size < 1 or batch_size % devices:
        raise InputError(
            f"batch_size is {batch_size}; it must be a positive multiple of {devices}, the "
            'devices along the mesh\'s "data" axis'
        )
    # A single answer costs no whole batch; powers of two keep the programs few.
    needed = devices * 2 ** math.ceil(math.log2(max(1, len(visible) / devices)))
    batch_size = min(batch_size, needed)
    # The padding is never attended to.
    ids = np.pad(prompt_ids, (0, -len(prompt_ids) % _BUCKET), mode="edge").astype(np.int32)
    question = (
        plan,
        network.layout(plan.grid),
        ids,
        network.positions(ids, plan.grid),
        np.int32(np.argmax(ids == image_token)),
        np.int32(len(prompt_ids)),
        np.array(model.end_ids, np.int32),
        settling_tokens(tokenizer, settle),
    )
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    spread = None if mesh is None else NamedSharding(mesh, PartitionSpec("data"))
    question = jax.device_put(question, everywhere)
    limit = min(max_new_tokens, context - len(prompt_ids))

    answers = []
    bar = tqdm(total=len(visible), disable=not progress, unit="answer", leave=False)
    for first in range(0, len(visible), batch_size):
        part = visible[first : first + batch_size]
        # A repeated row is settled when the row itself is.
        sets = np.pad(part, ((0, batch_size - len(part)), (0, 0)), mode="edge")
        sets = jax.device_put(np.pad(sets, ((0, 0), (0, -regions % _BUCKET))), spread)
        new = np.asarray(_decode(network, *question, sets, max_new_tokens=limit))
        answers += [decode_answer(tokenizer, row[row >= 0]) for row in new[: len(part)]]
        bar.update(len(part))
    bar.close()
    return answers


def prefixes(order: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n+1 n"]:
    """The sets of regions that an order runs through.

    Args:
      order: region numbers, most important first.

    Returns:
      Row k has the first k regions visible, for k = 0 (blank image) to n (full image).
    """
    rank = np.argsort(order)
    return rank[None, :] < np.arange(len(order) + 1)[:, None]


def correct_by_scan(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]], order: Int[np.ndarray, " n"]
) -> tuple[str, ...]:
    """The answer at every prefix of an order.

    Args:
      ask: from visible regions to answers, as `regenerate` gives them.
      order: region numbers, most important first.

    Returns:
      Answer k is given with the first k regions visible, k = 0 to n.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis; there without the blank image.
    """
    return tuple(ask(prefixes(order)))


def correct_by_bisection(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]],
    order: Int[np.ndarray, " n"],
    is_right: Callable[[str], bool],
    curve: Float[np.ndarray, "n+1"],
) -> tuple[str | None, ...]:
    """Looks for the fewest last regions whose removal makes an answer right, by halving.

    Asked first are the full image and the prefix at which the right answer is most probable.
    If the one is wrong and the other right, the gap between them is halved until neighbours
    are left: about log2(n) + 2 answers instead of n + 1. This finds what a scan finds where
    the answers between the two turn right once; where they turn more often, it finds one of
    the turns and may report more removed regions than were needed, never fewer. Where the
    most promising prefix is wrong, it reports no correction, though another may be right.

    Args:
      ask: from visible regions to answers, as `regenerate` gives them.
      order: region numbers, most important first.
      is_right: whether an answer is the right one.
      curve: probability of the right answer with the first k regions visible, k = 0 to n:
        the insertion curve of a search for it.

    Returns:
      As of `correct_by_scan`, with None where nothing was asked.
    """
    sets = prefixes(order)
    answers: list[str | None] = [None] * len(sets)

    def right(visible: int) -> bool:
        (answer,) = ask(sets[visible : visible + 1])
        answers[visible] = answer
        return is_right(answer)

    wrong = len(order)
    if right(wrong):
        return tuple(answers)
    # Of equal chances the one that hides least.
    best = len(order) - int(np.argmax(curve[::-1]))
    if best < wrong and right(best):
        while wrong - best > 1:
            middle = (wrong + best) // 2
            if right(middle):
                best = middle
            else:
                wrong = middle
    return tuple(answers)


def settling_tokens(
    tokenizer: Tokenizer, words: Sequence[str]
) -> tuple[Int32[np.ndarray, " y"], Int32[np.ndarray, " z"]]:
    """Tokens that settle an answer, and those that leave open where a word ends.

    Args:
      tokenizer: of the model.
      words: such as Yes and No.

    Returns:
      Ids whose text is one of the words, whatever its case and the blanks and punctuation
      around it; and ids that end in a hyphen, an apostrophe or an unfinished character, behind
      which "No" can still become "No-one". None of either without words.
    """
    wanted = {word.strip(_AROUND).lower() for word in words} - {""}
    texts = _vocabulary(tokenizer) if wanted else ()
    settling = [i for i, text in enumerate(texts) if text.strip(_AROUND).lower() in wanted]
    joining = [i for i, text in enumerate(texts) if text.endswith(_JOINTS)]
    return np.array(settling, np.int32), np.array(joining, np.int32)


_AROUND = string.whitespace + string.punctuation
_JOINTS = ("-", "'", "\u2019", "\N{REPLACEMENT CHARACTER}")


@functools.lru_cache(maxsize=1)
def _vocabulary(tokenizer: Tokenizer) -> tuple[str, ...]:
    return tuple(tokenizer.batch_decode([[i] for i in range(len(tokenizer))]))


@functools.partial(jax.jit, static_argnames="max_new_tokens")
def _decode(
    network,
    plan,
    layout,
    ids,
    positions,
    start,
    length,
    end_ids,
    settling,
    visible,
    *,
    max_new_tokens,
):
    patches = masked_patches(plan, visible)
    with full_precision(network):
        embeddings = network.embed(ids, network.visual_tokens(patches, layout), start)
        return generate(
            network, embeddings, positions, length, end_ids, max_new_tokens, settling
        )
