"""The bundled demo: a small trained model, a picture and a question.

`scenes` draws the world it knows, `questions` says what can be asked about it, `train`
makes the model from nothing and `evaluate` measures it.
"""

from eagle_jax.files import DEMO

CHECKPOINT = DEMO / "checkpoint"
"""Hugging Face folder of the demo model."""

IMAGE = DEMO / "scene.png"
"""The default picture: the scene drawn from `IMAGE_SEED`."""

IMAGE_SEED = 20_000_136

PROMPT = "Describe the image."
"""The default question."""

MISTAKES = DEMO / "mistakes.json"
"""Wrong answers of the demo model, for diagnosis; see `eagle_jax.demo.evaluate`."""
