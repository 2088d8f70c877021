"""One description for each supported family: what `test_families.py` needs to know of it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
import tiny_checkpoints
import tiny_internvl
import tiny_llava
from torch_reference import TorchReference

from eagle_jax.inputs.patches import masked_patches, plan_image
from eagle_jax.inputs.prompt import build_prompt, load_tokenizer
from eagle_jax.models.families.vision_language import VisionLanguageModel
from eagle_jax.models.layers.rope import image_start
from eagle_jax.scoring.model import read_image_settings

PROMPT, ANSWER = "Is there a cat in the image?", " There is a cat in the image."


@dataclass(frozen=True)
class Family:
    """How to make a family's tiny checkpoints, and which images show all of its branches.

    Attributes:
        make: Writes a checkpoint: folder, seed and options -> folder.
        variants: Options of the checkpoints that are compared with PyTorch, by name; together
            they have every branch of the architecture that a config can ask for.
        layouts: Key layouts on disk, the published one first; values of make's `layout`.
        sizes: Heights and widths of images. The first is resized in both directions.
    """

    make: Callable[..., Path]
    variants: dict[str, dict[str, Any]]
    layouts: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]


FAMILIES = {
    "qwen2.5-vl": Family(
        tiny_checkpoints.make_qwen2_5_vl,
        {
            "untied": {},
            "tied, wide windows": {"tied": True, "layout": "nested", "window_size": 112},
        },
        tiny_checkpoints.LAYOUTS,
        # Merged tokens: 3 x 5, in cut windows; 4 x 4, in whole ones; tall; wide.
        ((90, 150), (112, 112), (252, 56), (56, 196)),
    ),
    "qwen2-vl": Family(
        tiny_checkpoints.make_qwen2_vl,
        {"untied": {}, "tied": {"tied": True, "layout": "nested"}},
        tiny_checkpoints.LAYOUTS,
        ((90, 150), (112, 56)),
    ),
    "qwen3-vl": Family(
        tiny_checkpoints.make_qwen3_vl,
        {
            "untied": {},
            "tied, last layer deep": {
                "tied": True,
                "layout": "nested",
                "deep_layers": (0, 1, 4),
            },
        },
        tiny_checkpoints.LAYOUTS,
        # Learned positions, 5 x 5: stretched, shrunk on one side, both sides as they are.
        ((90, 150), (224, 64), (160, 160)),
    ),
    "llava": Family(
        tiny_llava.make_llava,
        {
            "published": {},
            "tied, another layer": {
                "layout": "saved",
                "tied": True,
                "feature_layer": -3,
                "vision_act": "gelu",
                "patch": 28,
            },
        },
        tiny_llava.LAYOUTS,
        ((61, 90), (56, 56), (130, 70)),
    ),
    "internvl": Family(
        tiny_internvl.make_internvl,
        {"3.5": {}, "6B": {"kind": "6B", "layout": "nested"}},
        tiny_internvl.LAYOUTS,
        # Two tiles and a thumbnail; one tile; six and a thumbnail.
        ((60, 118), (50, 52), (100, 150)),
    ),
}
CASES = [(name, kind) for name, family in FAMILIES.items() for kind in family.variants]
every_case = pytest.mark.parametrize("name, kind", CASES, ids=[f"{n}, {k}" for n, k in CASES])
every_family = pytest.mark.parametrize("name", FAMILIES)


class Case:
    """One checkpoint on both sides of the comparison."""

    def __init__(self, family: Family, kind: str, folder: Path):
        self.family = family
        self.options = family.variants[kind]
        self.folder = family.make(folder, 1, **self.options)

    @functools.cached_property
    def model(self) -> VisionLanguageModel:
        return questions.load_network(self.folder)

    @functools.cached_property
    def tokenizer(self):
        return load_tokenizer(self.folder, self.model.config.image_token_id)

    @functools.cached_property
    def reference(self) -> TorchReference:
        return TorchReference(self.folder)

    def forward(self, image: np.ndarray, answer: str = ANSWER) -> tuple[np.ndarray, tuple]:
        """Ids of prompt and answer, then what a forward takes besides them."""
        labels = np.zeros(image.shape[:2], np.int32)
        settings = read_image_settings(self.folder, self.model.config.vision)
        plan = plan_image(image, labels, settings)
        patches = _patches(plan)
        image_token = self.model.config.image_token_id
        tokens = patches.shape[1] // plan.merge_size**2
        prompt = build_prompt(self.tokenizer, PROMPT, tokens, image_token)
        answer_ids = self.tokenizer(answer, add_special_tokens=False).input_ids
        ids = np.concatenate([prompt, answer_ids]).astype(np.int32)
        start = image_start(ids, image_token)
        positions = self.model.positions(ids, plan.grid)
        return ids, (patches, self.model.layout(plan.grid), positions, start)


# Unoptimised machine code for the same arithmetic: these programs run once or twice.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick_jit
def _patches(plan):
    return masked_patches(plan, jnp.ones((1, 1), bool))


@quick_jit
def log_probabilities(model, ids, patches, layout, positions, start):
    """Of the whole vocabulary at all positions."""
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    hidden = model.hidden_states(embeddings, positions)
    return jax.nn.log_softmax(model.decoder.logits(hidden), axis=-1)
