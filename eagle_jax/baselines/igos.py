"""IGOS++: two masks, one whose removal and one whose return changes the answer most."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from eagle_jax.baselines.maps import (
    Heat,
    centres,
    frames_of,
    from_patches,
    in_patches,
    shares,
    stretched,
)
from eagle_jax.inputs.fill import blurred
from eagle_jax.inputs.image_settings import Frame
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import (
    gradient_batch_size,
    require_gradients,
    whole_patches,
)
from eagle_jax.scoring.set_function import log_score_patches

# Values of the authors' code for multimodal models.
SIDE = 32
_RATE = 10.0
_MOMENTUM = 5.0
_SPARSITY, _CONVEXITY, _SMOOTHNESS = 1.0, 0.1, 10.0
_EDGE = 0.01
# A token counts as visual if the image makes it so much more probable, in nats.
_VISUAL = 1.0


class Composition(NamedTuple):
    """What masks are laid over: patches of the image and of its baseline, and the way there.

    Attributes:
      image: normalised patches.
      baseline: likewise.
      rows: for each frame, the share of each row of a mask in each row of pixels.
      columns: likewise.
      edges: of the first frame, how much a change of the mask costs from each row of pixels
        to the next, and from each column to the next.
    """

    image: Float[Array, "p e"]
    baseline: Float[Array, "p e"]
    rows: tuple[np.ndarray | Array, ...]
    columns: tuple[np.ndarray | Array, ...]
    edges: tuple[np.ndarray | Array, np.ndarray | Array]


def igos(
    case: Case,
    *,
    variant: str = "paper",
    iterations: int = 5,
    steps: int = 10,
    noise: float = 0.2,
    seed: int = 0,
) -> Heat:
    """Optimises a deletion and an insertion mask by integrated gradients.

    Where the deletion mask is low the baseline, a blurred image, takes the image's place; where
    the insertion mask is low the image takes the baseline's. Low masks are to lower the score
    in the first case and to raise it in the second, alone and as a product, which is the
    result. The score is the sum of the log-probabilities of those targets that the image makes
    more probable by one nat than the baseline.

    Args:
      case: what is explained.
      variant: "paper"; "published" for the port in the EAGLE repository: image and baseline
        are not swapped for the insertion mask, the baseline of models other than Qwen's is
        zero, the answer's own tokens are targets whatever the case asks for, and the weight
        of the convex term falls faster. Other than there, the image is not squashed to a
        square for these models.
      iterations: Nesterov steps.
      steps: points of the integrated gradient.
      noise: standard deviation of what is added to normalised pixels.
      seed: equal seeds give equal noise.

    Returns:
      One minus the product of the masks, stretched over the image.

    Raises:
      InputError: the weights are int8.

    References:
      Khorram et al., iGOS++, arXiv 2012.15783, section 3; Xing et al., arXiv 2503.13891, for
      multimodal models.
    """
    network = case.model.network
    require_gradients(network)
    question, published = case.question.padded, variant == "published"
    if published:
        token_ids = np.zeros_like(question.token_ids)
        token_ids[: len(case.positions)] = case.answer_ids[case.positions]
        question = dataclasses.replace(question, token_ids=token_ids)
    masks = optimised_masks(
        network,
        question,
        _composition(case, published),
        np.float32(noise),
        jax.random.key(seed),
        frames=frames_of(case),
        published=published,
        iterations=iterations,
        steps=steps,
        batch_size=gradient_batch_size(case.scorer),
    )
    heat = stretched(1 - np.prod(np.asarray(masks), axis=0), *case.image.shape[:2])
    passes = 4 * iterations * steps
    return Heat(heat, passes + 2, passes)


_whole_patches = jax.jit(whole_patches)


def _composition(case: Case, published: bool) -> Composition:
    frames, question = frames_of(case), case.question
    image = _whole_patches(question)[0]
    if published and not isinstance(case.model.image_settings, PixelBudget):
        baseline = jnp.zeros_like(image)
    else:
        everything = np.zeros_like(case.labels)
        plan = plan_image(blurred(case.image), everything, case.model.image_settings)
        baseline = _whole_patches(dataclasses.replace(question, plan=plan))[0]
    sides = [
        [
            shares((centres(length) * length + origin) / resized, SIDE).astype(np.float32)
            for length, origin, resized in zip(
                frame.shape, frame.origin, frame.resized, strict=True
            )
        ]
        for frame in frames
    ]
    return Composition(
        image=image,
        baseline=baseline,
        rows=tuple(rows for rows, _ in sides),
        columns=tuple(columns for _, columns in sides),
        edges=_edges(frames[0], np.asarray(image)),
    )


def _edges(
    frame: Frame, image: Float32[np.ndarray, "p e"]
) -> tuple[Float32[np.ndarray, "_ x"], Float32[np.ndarray, "y _"]]:
    """How alike neighbouring pixels are: exp(-difference**2 / sigma) of their brightness."""
    own = image[: np.prod(frame.blocks) * frame.block**2]
    grey = from_patches(frame, own.reshape(len(own), 3, -1).mean(axis=1))
    down, right = (np.diff(grey, axis=axis) for axis in (0, 1))
    return np.exp(-(down**2) / _EDGE), np.exp(-(right**2) / _EDGE)


@functools.partial(
    jax.jit, static_argnames=("frames", "published", "iterations", "steps", "batch_size")
)
def optimised_masks(
    network,
    question,
    composition,
    noise,
    key,
    *,
    frames,
    published,
    iterations,
    steps,
    batch_size,
):
    """The deletion and the insertion mask, float32 (2, side, side).

    Args:
      network: the model's modules.
      question: a `Question.padded` one.
      composition: what the masks are laid over.
      noise: see `igos`, as are the other arguments without a word.
      key: of the noise.
      frames: of the image.
      published: whether the variant is "published".
      iterations: Nesterov steps.
      steps: points of the integrated gradient.
      batch_size: images whose gradient is taken together.
    """
    counted = _visual_targets(network, question, composition)

    count = 4 * steps
    batches = -(-count // batch_size)

    def energy(masks, numbers, step):
        """What the masks are to lower: the part of some of the terms, at their points."""
        deletion, insertion = masks
        both = deletion * insertion
        term, place = numbers % 4, (numbers // 4 + 1) / steps
        laid = place[:, None, None] * jnp.stack([both, deletion, both, insertion])[term]
        kept = jax.vmap(lambda mask: over_patches(frames, composition, mask))(laid)
        swapped = (term >= 2)[:, None, None] & (not published)
        first = jnp.where(swapped, composition.baseline, composition.image)
        second = jnp.where(swapped, composition.image, composition.baseline)
        change = jax.vmap(
            lambda number: jax.random.normal(
                jax.random.fold_in(key, step * count + number), composition.image.shape
            )
        )(numbers)
        patches = first * kept + second * (1 - kept) + noise * change
        sign = jnp.where(term < 2, 0.5, -0.5) * (numbers < count)
        return sign @ (log_score_patches(network, question, patches) @ counted)

    def iterate(carried, i):
        masks, before = carried

        def add(total, numbers):
            # The graph of one batch is alive at a time.
            return total + jax.grad(energy)(masks, numbers, i), None

        numbers = jnp.arange(batches * batch_size).reshape(batches, -1)
        slope, _ = jax.lax.scan(add, jnp.zeros_like(masks), numbers)
        decay = i * (i + 1) / 2 if published else i
        convexity = _CONVEXITY * jnp.exp(-1.0 * decay)
        slope = slope / steps + jax.grad(_penalty)(masks, convexity, composition)
        # Nesterov's step with a momentum that grows, as in the authors' code.
        after = masks - _RATE * slope
        masks = after + i / (i + _MOMENTUM) * (after - before)
        return (jnp.clip(masks, 0, 1), after), None

    ones = jnp.ones((2, SIDE, SIDE))
    (masks, _), _ = jax.lax.scan(iterate, (ones, ones), jnp.arange(iterations))
    return masks


def _visual_targets(network, question, composition: Composition) -> Array:
    """1 for each target that the image makes more probable, 0 for the others."""
    both = jnp.stack([composition.image, composition.baseline])
    seen, blind = log_score_patches(network, question, both)
    real = question.weights > 0
    counted = real & (seen - blind > _VISUAL)
    gain = jnp.where(real, jnp.exp(seen) - jnp.exp(blind), -jnp.inf)
    most = jax.nn.one_hot(jnp.argmax(gain), len(real))
    return jnp.where(counted.any(), counted.astype(jnp.float32), most)


def over_patches(
    frames: tuple[Frame, ...], composition: Composition, mask: Float[Array, "side side"]
) -> Float[Array, "p e"]:
    """A mask over the whole image, as large as the patches it is laid over."""
    sides = zip(frames, composition.rows, composition.columns, strict=True)
    one = jnp.concatenate(
        [in_patches(f, rows @ mask @ columns.T) for f, rows, columns in sides]
    )
    return jnp.tile(one, composition.image.shape[-1] // one.shape[-1])


def _penalty(masks: Array, convexity: Array, composition: Composition) -> Array:
    """The product of the masks is to be one almost everywhere, or zero, and smooth."""
    mask = masks[0] * masks[1]
    large = composition.rows[0] @ mask @ composition.columns[0].T
    # Of the slopes that it may have where a mask is 1, the sparsity takes 0.
    off = jnp.where(mask < 1, 1 - mask, 0)
    smoothness = _variation(mask, (1.0, 1.0)) + _variation(large, composition.edges)
    return (
        _SPARSITY * off.mean()
        + convexity * ((1 - mask) ** 2).sum()
        + _SMOOTHNESS * smoothness / 2
    )


def _variation(mask, edges) -> Array:
    down, right = edges
    return (down * jnp.diff(mask, axis=0) ** 2).mean() + (
        right * jnp.diff(mask, axis=1) ** 2
    ).mean()
