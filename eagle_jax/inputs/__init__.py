"""The inputs of a model: images become masked patches, prompts and answers become tokens.

For `scoring` and everything above it; knows pixels and token ids, but no model. Read `patches`
first: how regions of an image are hidden inside a compiled program. `processors` is the table
of image processors, one file each; `regions` divides an image; `prompt` and `answer` give token
ids.
"""

from eagle_jax.inputs.answer import encode_answer as encode_answer
from eagle_jax.inputs.images import read_image as read_image
from eagle_jax.inputs.patches import masked_patches as masked_patches
from eagle_jax.inputs.patches import plan_image as plan_image
from eagle_jax.inputs.prompt import build_prompt as build_prompt
from eagle_jax.inputs.regions import segment as segment
