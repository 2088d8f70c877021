"""Questions to tiny models, laid out for both sides of a comparison."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import torch_reference

from eagle_jax.inputs.answer import encode_answer
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.prompt import build_prompt, load_tokenizer
from eagle_jax.models.checkpoints.weights import load_weights, read_config
from eagle_jax.models.families.vision_language import VisionLanguageModel
from eagle_jax.scoring.model import abstract_network, read_image_settings
from eagle_jax.scoring.question import lay_out, on_devices
from eagle_jax.scoring.scorer import MaskedImageScorer
from eagle_jax.search import Objective, SearchResult, find_orders


def load_network(folder) -> VisionLanguageModel:
    """The float32 modules of a checkpoint folder, whatever else the folder lacks."""
    skeleton, keys = abstract_network(read_config(folder), str(folder))
    return load_weights(folder, skeleton, keys, jnp.float32)


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
    settings: ImageSettings
    prompt_ids: np.ndarray
    answer_ids: np.ndarray
    positions: np.ndarray
    token_ids: np.ndarray

    def scorer(self, network, batch_size=8) -> MaskedImageScorer:
        """This question to our model."""
        plan = plan_image(self.image, self.labels, self.settings)
        question = lay_out(
            network, plan, self.prompt_ids, self.answer_ids, self.positions, self.token_ids
        )
        tokens = [str(token) for token in self.token_ids]
        question = on_devices(network, question)
        return MaskedImageScorer(network, question, self.labels, tokens, batch_size)

    def reference_score(self, reference):
        """This question to PyTorch: the probabilities of one set of regions."""
        ids = np.concatenate([self.prompt_ids, self.answer_ids])
        rows = len(self.prompt_ids) + self.positions - 1

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
    network, _ = abstract_network(read_config(folder), str(folder))
    image_token = network.config.image_token_id
    tokenizer = load_tokenizer(folder, image_token)
    settings = read_image_settings(folder, network.config.vision)
    plan = plan_image(image, labels, settings)
    prompt_ids = build_prompt(tokenizer, prompt, plan.tokens, image_token)
    if reference is None:
        answer_ids = encode_answer(tokenizer, answer)
    else:
        answer_ids = reference.generate(prompt_ids, image, 7, stop=False).astype(np.int32)
    target = np.arange(len(answer_ids)) if target is None else np.asarray(target)
    token_ids = answer_ids[target] if token_ids is None else np.asarray(token_ids)
    return Question(
        image,
        labels,
        settings,
        prompt_ids,
        answer_ids,
        target.astype(np.int32),
        token_ids.astype(np.int32),
    )


def greedy(scorer, insight_weight=1.0, necessity_weight=1.0) -> SearchResult:
    """The exact search for one scorer."""
    objective = Objective(insight_weight, necessity_weight)
    (found,) = find_orders([scorer], "exact", objective=objective)
    return found


def compare_searches(scorer, score, insight_weight=1.0, necessity_weight=1.0):
    """Asserts that our search is one that the sequential search could have made.

    Args:
        scorer: Our side.
        score: PyTorch's: `n` booleans -> `t` probabilities.
        insight_weight: Of the objective.
        necessity_weight: Of the objective.
    """
    weights = insight_weight, necessity_weight
    found, regions = greedy(scorer, *weights), scorer.regions
    assert (found.forwards, found.rounds) == (regions * (regions + 1), regions)
    found = found.curves
    assert sorted(found.order) == list(range(regions))
    theirs = torch_reference.exact_search(score, regions, *weights, follow=found.order)
    np.testing.assert_allclose(found.insertion, theirs.insertion, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.deletion, theirs.deletion, rtol=0, atol=1e-4)
    assert np.ptp(theirs.insertion, axis=0).max() > 0.05, "the masks do not matter"
    clear = theirs.margin > 1e-5
    assert np.all(theirs.shortfall[clear] == 0), "another region where the margin is clear"
    assert np.all(theirs.shortfall <= 1e-5), "a worse region than a tie allows"
    assert clear.mean() > 0.7, "margins too small for this comparison to mean anything"
