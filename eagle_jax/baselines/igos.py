"""IGOS++: two soft masks, for deletion from the image and for insertion into a baseline."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Key

from eagle_jax.baselines import maps
from eagle_jax.inputs.fill import blurred
from eagle_jax.inputs.image_settings import Frame
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring import gradients
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.question import Question
from eagle_jax.scoring.set_function import log_score_patches

# Values of the authors' code for multimodal models.
SIDE = 32
_RATE = 10.0
_MOMENTUM = 5.0
_SPARSITY, _CONVEXITY, _SMOOTHNESS = 1.0, 0.1, 10.0
_EDGE = 0.01
# A target counts if image and baseline differ by this much in its log-probability, in nats.
_VISUAL = 1.0
# Terms of the energy, see `_blended`.
_TERMS = 4


class Composition(NamedTuple):
    """Image and baseline that soft masks blend, and how a soft mask is scaled to their size.

    Attributes:
      image: normalised patches of the image.
      baseline: normalised patches of the baseline.
      rows: for each frame, the weight of each row of a soft mask in each row of pixels.
      columns: for each frame, the weight of each column in each column of pixels.
      edges: for the first frame, the cost of a difference of the soft mask between
        neighbouring rows of pixels, and between neighbouring columns.
    """

    image: Float[Array, "p c"]
    baseline: Float[Array, "p c"]
    rows: tuple[np.ndarray | Array, ...]
    columns: tuple[np.ndarray | Array, ...]
    edges: tuple[np.ndarray | Array, np.ndarray | Array]


class Settings(NamedTuple):
    """What `optimised_masks` is compiled for.

    Attributes:
      frames: the resized copies of the image that the model reads.
      published: True for the variant "published".
      iterations: number of Nesterov steps.
      steps: number of points of each integrated gradient.
      batch_size: number of images whose gradient is computed at once, see
        `eagle_jax.scoring.gradients.gradient_batch_size`.
      mesh: mesh of the weights.
    """

    frames: tuple[Frame, ...]
    published: bool
    iterations: int
    steps: int
    batch_size: int
    mesh: Mesh | None = None


def igos(
    case: Case,
    *,
    variant: str = "paper",
    iterations: int = 5,
    steps: int = 10,
    noise: float = 0.2,
    seed: int = 0,
) -> maps.Heat:
    """Optimises a deletion and an insertion mask, both soft, by integrated gradients.

    Where the deletion mask is low, the baseline, a blurred image, replaces the image; where
    the insertion mask is low, the image replaces the baseline. The optimisation looks for
    masks that are low in few places, but lower the score by deletion and raise it by
    insertion, each alone and as their product, which is the result. The score is the sum of
    the log-probabilities of the targets that are more probable with the image than with the
    baseline by at least one nat.

    Args:
      case: the case to explain.
      variant: "paper"; "published" for the port in the EAGLE repository: image and baseline
        are not swapped for the insertion mask, the baseline of models other than Qwen is
        zero, the tokens of the answer are the targets even if the case scores other tokens,
        and the weight of the convex term decreases faster. Unlike that port, the image of
        these models is not squashed to a square.
      iterations: number of Nesterov steps.
      steps: number of points of each integrated gradient.
      noise: standard deviation of the noise added to normalised pixels.
      seed: seed of the noise.

    Returns:
      One minus the product of the masks, stretched over the image.

    Raises:
      InputError: the weights are int8.

    References:
      Khorram et al., iGOS++, arXiv 2012.15783, section 3; Xing et al., arXiv 2503.13891, for
      multimodal models.
    """
    network = case.model.network
    gradients.require_gradients(network)
    question, published = case.question.padded, variant == "published"
    if published:
        token_ids = np.zeros_like(question.token_ids)
        token_ids[: len(case.positions)] = case.answer_ids[case.positions]
        question = dataclasses.replace(question, token_ids=token_ids)
    masks = optimised_masks(
        network,
        question,
        composed(case, published),
        np.float32(noise),
        jax.random.key(seed),
        settings=Settings(
            frames=maps.frames_of(case),
            published=published,
            iterations=iterations,
            steps=steps,
            batch_size=gradients.gradient_batch_size(case.scorer, _TERMS * steps),
            mesh=mesh_of(network),
        ),
    )
    heat = maps.stretched(1 - np.prod(np.asarray(masks), axis=0), *case.image.shape[:2])
    passes = _TERMS * iterations * steps
    return maps.Heat(heat, passes + 2, passes)


_whole_patches = jax.jit(gradients.whole_patches)


def composed(case: Case, published: bool) -> Composition:
    """The image of a case and its baseline, ready to be blended.

    Args:
      case: the case to explain.
      published: True for the variant "published".
    """
    frames, question = maps.frames_of(case), case.question
    image = _whole_patches(question)[0]
    if published and not isinstance(case.model.image_settings, PixelBudget):
        baseline = jnp.zeros_like(image)
    else:
        everything = np.zeros_like(case.labels)
        plan = plan_image(blurred(case.image), everything, case.model.image_settings)
        baseline = _whole_patches(dataclasses.replace(question, plan=plan))[0]
    sides = [
        [
            maps.bilinear((maps.centres(length) * length + origin) / resized, SIDE)
            for length, origin, resized in zip(
                frame.shape, frame.origin, frame.resized, strict=True
            )
        ]
        for frame in frames
    ]
    return Composition(
        image=image,
        baseline=baseline,
        rows=tuple(rows.astype(np.float32) for rows, _ in sides),
        columns=tuple(columns.astype(np.float32) for _, columns in sides),
        edges=_edges(frames[0], np.asarray(image)),
    )


def _edges(
    frame: Frame, image: Float32[np.ndarray, "p c"]
) -> tuple[Float32[np.ndarray, "_ x"], Float32[np.ndarray, "y _"]]:
    """How alike neighbouring pixels are: exp(-difference**2 / sigma) of their brightness."""
    patches = image[: np.prod(frame.blocks) * frame.block**2]
    grey = maps.from_patches(frame, patches.reshape(len(patches), 3, -1).mean(axis=1))
    down, right = (np.diff(grey, axis=axis) for axis in (0, 1))
    return np.exp(-(down**2) / _EDGE), np.exp(-(right**2) / _EDGE)


@functools.partial(jax.jit, static_argnames="settings")
def optimised_masks(
    network: Network,
    question: Question,
    composition: Composition,
    noise: Float32[Array, ""],
    key: Key[Array, ""],
    *,
    settings: Settings,
) -> Float32[Array, "2 side side"]:
    """The deletion and the insertion mask.

    Args:
      network: the model's modules.
      question: a `Question.padded`.
      composition: image and baseline that the masks blend.
      noise: standard deviation of the noise added to normalised pixels.
      key: random key of the noise.
      settings: settings that are fixed when the program is compiled.
    """
    counted = _visual_targets(network, question, composition)
    points = _TERMS * settings.steps
    batches = -(-points // settings.batch_size)

    def energy(masks, numbers, iteration):
        """The part of the energy, which the masks should lower, at some of its points."""
        patches, sign = _blended(masks, numbers, composition, settings)
        change = jax.vmap(
            lambda number: jax.random.normal(
                jax.random.fold_in(key, iteration * points + number), composition.image.shape
            )
        )(numbers)
        patches = gradients.spread(patches + noise * change, settings.mesh)
        return sign @ (log_score_patches(network, question, patches) @ counted)

    def iterate(carried, i):
        masks, before = carried

        def add(total, numbers):
            # One batch at a time: its activations are freed before the next batch.
            return total + jax.grad(energy)(masks, numbers, i), None

        numbers = jnp.arange(batches * settings.batch_size).reshape(batches, -1)
        slope, _ = jax.lax.scan(add, jnp.zeros_like(masks), numbers)
        decay = i * (i + 1) / 2 if settings.published else i
        convexity = _CONVEXITY * jnp.exp(-1.0 * decay)
        slope = slope / settings.steps + jax.grad(_penalty)(masks, convexity, composition)
        # Nesterov's step with a growing momentum, as in the authors' code.
        after = masks - _RATE * slope
        masks = after + i / (i + _MOMENTUM) * (after - before)
        return (jnp.clip(masks, 0, 1), after), None

    ones = jnp.ones((2, SIDE, SIDE))
    (masks, _), _ = jax.lax.scan(iterate, (ones, ones), jnp.arange(settings.iterations))
    return masks


def _blended(masks, numbers, composition: Composition, settings: Settings):
    """Image and baseline blended at some points of the energy, and the sign of each point.

    The four terms take turns: the score after deletion, by the product of the masks and by the
    deletion mask alone; then, with the other sign, the score after insertion, by the product
    and by the insertion mask alone.
    """
    deletion, insertion = masks
    both = deletion * insertion
    term, step = numbers % _TERMS, numbers // _TERMS
    inserts = term >= 2
    laid = ((step + 1) / settings.steps)[:, None, None] * jnp.stack(
        [both, deletion, both, insertion]
    )[term]
    kept = jax.vmap(lambda mask: over_patches(settings.frames, composition, mask))(laid)
    swapped = inserts[:, None, None] & (not settings.published)
    first = jnp.where(swapped, composition.baseline, composition.image)
    second = jnp.where(swapped, composition.image, composition.baseline)
    # Numbers beyond the last point fill up the last batch.
    sign = jnp.where(inserts, -0.5, 0.5) * (step < settings.steps)
    return first * kept + second * (1 - kept), sign


def _visual_targets(network: Network, question: Question, composition: Composition) -> Array:
    """1 for each target that counts, 0 for every other target and for padding."""
    both = jnp.stack([composition.image, composition.baseline])
    seen, blind = log_score_patches(network, question, both)
    real = question.weights > 0
    counted = real & (seen - blind > _VISUAL)
    gain = jnp.where(real, jnp.exp(seen) - jnp.exp(blind), -jnp.inf)
    most = jax.nn.one_hot(jnp.argmax(gain), len(real))
    return jnp.where(counted.any(), counted.astype(jnp.float32), most)


def over_patches(
    frames: tuple[Frame, ...], composition: Composition, mask: Float[Array, "side side"]
) -> Float[Array, "p c"]:
    """A soft mask over the whole image, scaled to the shape of the image's patches."""
    sides = zip(frames, composition.rows, composition.columns, strict=True)
    channel = jnp.concatenate(
        [maps.in_patches(frame, rows @ mask @ columns.T) for frame, rows, columns in sides]
    )
    return jnp.tile(channel, composition.image.shape[-1] // channel.shape[-1])


def _penalty(masks: Array, convexity: Array, composition: Composition) -> Array:
    """Penalises a product of the masks that is low in many places, soft, or rough."""
    mask = masks[0] * masks[1]
    large = composition.rows[0] @ mask @ composition.columns[0].T
    # The slope of the sparsity is 0 where the mask is 1; any slope up to 1 would be valid.
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
