"""Several conversations about one image, packed into one training sequence.

    user: IMAGE | Is there a cat in the image? Yes | Is there ... | What ... | Describe ...

Every turn stands in a slot of fixed length, sees the image and itself only, and counts its
positions on from the image: to the model each slot is exactly a conversation of one turn,
and the vision tower runs once for all of them. Mask and positions are the same for every
scene, so the whole training is one compiled program.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from demo_training.blackout import draw_blackout, visible_fractions
from demo_training.presence import draw_presence
from demo_training.scene_cache import NOTHING, SceneCache
from demo_training.tokenizer import END_TOKEN, IMAGE_TOKEN
from eagle_jax.demo.asking import GRID, VISUAL_TOKENS
from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    Named,
    caption,
    colour_answer,
    colour_question,
    presence_question,
)
from eagle_jax.metrics.hallucination import LABELS
from eagle_jax.models.layers.rope import image_start

PRESENCE, COLOUR, CAPTION = "presence", "colour", "caption"
SLOTS = (PRESENCE,) * 4 + (COLOUR,) * 2 + (CAPTION,)
# Tokens of the question with its chat frame, and of the longest answer with its end.
_LENGTHS = {PRESENCE: (13, 2), COLOUR: (11, 6), CAPTION: (9, 20)}

# Weights of a token that only the image decides, of a token that depends on the number of
# objects, and of a token that follows from the question.
_CONTENT, _STRUCTURE, _FRAME = 1.0, 0.3, 0.1
# An object counts as seen when this fraction of its patches is left.
_SEEN = 0.35
_STRUCTURE_WORDS = (" a", " an", ",", " and", ".")


class Packing(NamedTuple):
    """The layout of a sequence, the same for every scene.

    Attributes:
      prefix: token ids up to and with the end of the image.
      image_start: index of the first visual token.
      mask: True where a row of the sequence sees a column.
      positions: rotary positions.
      rows: indices whose next token belongs to an answer.
      slots: for each of `SLOTS`, the slice of `rows` that holds its answer.
    """

    prefix: Int[np.ndarray, " f"]
    image_start: int
    mask: Bool[np.ndarray, "s s"]
    positions: Int[np.ndarray, "3 s"]
    rows: Int[np.ndarray, " t"]
    slots: tuple[slice, ...]


class Batch(NamedTuple):
    """Scenes and the conversations about them; `weights` is 0 behind an answer's end."""

    images: UInt8[np.ndarray, "b 168 168 3"]
    patches: UInt8[np.ndarray, "b 144 2"]
    ids: Int[np.ndarray, "b s"]
    targets: Int[np.ndarray, "b t"]
    weights: Float[np.ndarray, "b t"]


def make_packing(
    tokenizer, positions_of: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
) -> Packing:
    """Lays the sequence out.

    Args:
      tokenizer: from `build_tokenizer`.
      positions_of: the model's `positions` for a sequence and a grid of patches.
    """
    image = IMAGE_TOKEN * VISUAL_TOKENS
    prefix = np.asarray(
        tokenizer.encode(f"<|im_start|>user\n<|vision_start|>{image}<|vision_end|>"), np.int32
    )
    start = image_start(prefix, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    owner, positions, rows, slots = [np.full(len(prefix), -1)], [], [], []
    offset = len(prefix)
    for number, sort in enumerate(SLOTS):
        question, answer = _LENGTHS[sort]
        length = question + answer - 1
        alone = np.concatenate([prefix, np.zeros(length, np.int32)])
        positions.append(positions_of(alone, GRID)[:, len(prefix) :])
        slots.append(slice(len(rows), len(rows) + answer))
        rows.extend(range(offset + question - 1, offset + length))
        owner.append(np.full(length, number))
        offset += length
    owners = np.concatenate(owner)
    visible = (owners[None, :] == -1) | (owners[:, None] == owners[None, :])
    visible &= np.arange(offset)[None, :] <= np.arange(offset)[:, None]
    of_prefix = positions_of(prefix, GRID)
    return Packing(
        prefix=prefix,
        image_start=start,
        mask=visible,
        positions=np.concatenate([of_prefix, *positions], axis=1).astype(np.int32),
        rows=np.asarray(rows, np.int32),
        slots=tuple(slots),
    )


def make_batch(
    packing: Packing,
    tokenizer,
    scenes: SceneCache,
    indices: np.ndarray,
    rng: np.random.Generator,
    blackout: float = 0.0,
) -> Batch:
    """Asks fresh questions about the scenes with these numbers.

    Args:
      packing: from `make_packing`.
      tokenizer: from `build_tokenizer`.
      scenes: the scenes.
      indices: rows of `scenes`.
      rng: source of the questions and the blackouts.
      blackout: fraction of the images that have parts blacked out; to the questions an object
        that cannot be seen any more is not there.
    """
    encode = _encoder(tokenizer)
    images, patches = scenes.images[indices], scenes.patches[indices]
    ids = np.zeros((len(indices), packing.mask.shape[0]), np.int32)
    targets = np.zeros((len(indices), len(packing.rows)), np.int32)
    weights = np.zeros((len(indices), len(packing.rows)), np.float32)
    ids[:, : len(packing.prefix)] = packing.prefix
    for row, index in enumerate(indices):
        objects = scenes.named(int(index))
        seen = objects
        if rng.random() < blackout:
            visible = draw_blackout(rng)
            images[row] *= visible[..., None]
            shares = visible_fractions(visible)
            seen = _seen(scenes.objects[index], patches[row], shares)
            patches[row][shares < _SEEN] = 0
        offset = len(packing.prefix)
        for sort, part in zip(SLOTS, packing.slots, strict=True):
            question, answer, weight = encode(*_turn(sort, objects, seen, rng))
            length = sum(_LENGTHS[sort]) - 1
            turn = (question + answer)[:-1]
            ids[row, offset : offset + len(turn)] = turn
            targets[row, part.start : part.start + len(answer)] = answer
            weights[row, part.start : part.start + len(answer)] = weight
            offset += length
    return Batch(
        images=images,
        patches=patches,
        ids=ids,
        targets=targets,
        weights=weights,
    )


def _seen(numbers: np.ndarray, patches: np.ndarray, shares: np.ndarray) -> Named:
    """The objects of which enough is left, from left to right."""
    left = []
    for colour, kind in numbers[numbers[:, 0] != NOTHING].tolist():
        place = patches[:, 0] == kind + 1
        share = shares[place].mean() if place.any() else shares.mean()
        if share >= _SEEN:
            left.append((tuple(COLOURS)[colour], KINDS[kind]))
    return left


def _turn(
    sort: str, objects: Named, seen: Named, rng: np.random.Generator
) -> tuple[str, str, str, tuple[bool, ...]]:
    """Sort, question and answer, and which objects of the answer the image still shows."""
    reworded = rng.random() < 0.15
    if sort == CAPTION:
        question = "Describe this picture." if reworded else CAPTION_PROMPT
        # Either what is left, or the caption of the whole image: an attribution forces that
        # caption on the model while it hides regions.
        named = seen if seen and rng.random() < 0.5 else objects
        return sort, question, caption(named), tuple(item in seen for item in named)
    if sort == PRESENCE:
        if seen and (len(seen) == len(objects) or rng.random() < 0.5):
            kind, present = draw_presence(seen, rng)
        else:
            kind = objects[int(rng.integers(len(objects)))][1]
            present = kind in [k for _, k in seen]
        question, answer = presence_question(kind), "Yes" if present else "No"
        question = question.replace("image", "picture") if reworded else question
        return sort, question, answer, (True,)
    colour, kind = objects[int(rng.integers(len(objects)))]
    question, answer = colour_question(kind), colour_answer(kind, colour)
    question = question.replace("colour", "color") if reworded else question
    return sort, question, answer, ((colour, kind) in seen,)


@functools.lru_cache(maxsize=1)
def _encoder(tokenizer):
    contents = _single_tokens(tokenizer)
    structure = {tokenizer.encode(word)[0] for word in _STRUCTURE_WORDS}

    @functools.lru_cache(maxsize=200_000)
    def encode(sort: str, question: str, answer: str, seen: tuple[bool, ...]):
        asked = tokenizer.encode(f"{question}{END_TOKEN}\n<|im_start|>assistant\n")
        said = tokenizer.encode(f"{answer}{END_TOKEN}")
        if len(asked) != _LENGTHS[sort][0] or len(said) > _LENGTHS[sort][1]:
            raise ValueError(f"{question!r} with {answer!r} does not fit its slot")
        weights, content = [], 0
        for place, token in enumerate(said):
            if token in contents and not (sort == COLOUR and place == 1):
                # A caption names each object by two words, colour and kind.
                weights.append(_CONTENT if seen[content // 2] else 0.0)
                content += 1
            elif sort == CAPTION and (token in structure or token == said[-1]):
                weights.append(_STRUCTURE if all(seen) else 0.0)
            else:
                weights.append(_FRAME)
        return asked, said, weights

    return encode


def _single_tokens(tokenizer) -> frozenset[int]:
    words = [*LABELS, *(f" {word}" for word in (*COLOURS, *KINDS))]
    return frozenset(tokenizer.encode(word)[0] for word in words)
