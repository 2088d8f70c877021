"""The bundled demo: a small trained model, an image and a question.

`scenes` draws the world that the model knows, `questions` says what can be asked about it, and
`lists` writes lists of questions whose right explanation is known. The model was trained by
`benchmarks/train_demo.py` of the repository.
"""

from eagle_jax.files import DEMO

CHECKPOINT = DEMO / "checkpoint"
"""Hugging Face folder of the demo model."""

IMAGE = DEMO / "scene.png"
"""The default image: the scene drawn from `IMAGE_SEED`."""

IMAGE_SEED = 20_000_136

PROMPT = "Describe the image."
"""The default question."""

MISTAKES = DEMO / "mistakes.json"
"""Wrong answers of the demo model, for diagnosis, each with its question, the right answer
(`label`) and the seed of its scene."""
