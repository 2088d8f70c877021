"""Questions to tiny models, laid out for both sides of a comparison."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eagle_jax.answer import encode_answer
from eagle_jax.image_settings import ImageSettings
from eagle_jax.models.checkpoint import load_weights, read_config
from eagle_jax.models.qwen2_5_vl import Qwen2_5_VL, Qwen2_5_VLConfig, weight_keys
from eagle_jax.preprocess import plan_image
from eagle_jax.prompt import build_prompt, load_tokenizer
from eagle_jax.question import ask
from eagle_jax.scoring import MaskedImageScorer


def load_network(folder) -> Qwen2_5_VL:
    """The float32 modules of a checkpoint folder."""
    config = Qwen2_5_VLConfig.from_hf(read_config(folder))
    skeleton = nnx.eval_shape(lambda: Qwen2_5_VL(config, rngs=nnx.Rngs(0)))
    return load_weights(folder, skeleton, weight_keys(config), jnp.float32)


def cells(seed: int, height: int, width: int, regions: int) -> np.ndarray:
    """A label map of irregular convex cells around random seeds."""
    rng = np.random.default_rng(seed)
    seeds = rng.choice(height * width, regions, replace=False)
    row, column = np.divmod(np.arange(height * width), width)
    distance = (row[:, None] - seeds // width) ** 2 + (column[:, None] - seeds % width) ** 2
    return distance.argmin(axis=1).reshape(height, width).astype(np.int32)


@dataclass
class Question:
    """One image, prompt, answer and target."""

    image: np.ndarray
    labels: np.ndarray
    prompt_ids: np.ndarray
    answer_ids: np.ndarray
    target: np.ndarray
    token_ids: np.ndarray

    def scorer(self, network, batch_size=8) -> MaskedImageScorer:
        """This question to our model."""
        plan = plan_image(self.image, self.labels, ImageSettings(max_pixels=12845056))
        question = ask(
            network, plan, self.prompt_ids, self.answer_ids, self.target, self.token_ids
        )
        tokens = [str(token) for token in self.token_ids]
        return MaskedImageScorer(network, question, self.labels, tokens, batch_size)

    def reference_score(self, reference):
        """This question to PyTorch: the probabilities of one set of regions."""
        ids = np.concatenate([self.prompt_ids, self.answer_ids])
        rows = len(self.prompt_ids) + self.target - 1

        def score(visible):
            return reference.score(ids, self.image, self.labels, visible, rows, self.token_ids)

        return score


def make_question(
    folder,
    image: np.ndarray,
    labels: np.ndarray,
    *,
    reference=None,
    prompt: str = "Is there a cat in the image?",
    answer: str = "Yes, a small red cat.",
    target=None,
    token_ids=None,
) -> Question:
    """Tokenizes with a folder's tokenizer; by default every answer token is a target.

    With a `reference` the answer is its own: a random model gives a text of ours
    probabilities near zero, where every absolute tolerance holds.
    """
    config = Qwen2_5_VLConfig.from_hf(read_config(folder))
    tokenizer = load_tokenizer(folder, config.image_token_id)
    grid = plan_image(image, labels, ImageSettings()).grid
    prompt_ids = build_prompt(tokenizer, prompt, grid[0] * grid[1] // 4, config.image_token_id)
    if reference is None:
        answer_ids = encode_answer(tokenizer, answer)
    else:
        answer_ids = reference.generate(prompt_ids, image, 7, stop=False).astype(np.int32)
    target = np.arange(len(answer_ids)) if target is None else np.asarray(target)
    token_ids = answer_ids[target] if token_ids is None else np.asarray(token_ids)
    return Question(
        image,
        labels,
        prompt_ids,
        answer_ids,
        target.astype(np.int32),
        token_ids.astype(np.int32),
    )
