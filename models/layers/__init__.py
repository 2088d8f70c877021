"""What the models are built of: vision towers, the decoder, and what decodes with it.

For `checkpoints`, `families` and `scoring`. Read `decoder` first; `clip_vit`, `intern_vit` and
`qwen_vit` are the towers, `building_blocks` what they share, `rope` the positions.
"""

from eagle_jax.models.layers.building_blocks import in_int8 as in_int8
from eagle_jax.models.layers.decoder import Decoder as Decoder
from eagle_jax.models.layers.precision import full_precision as full_precision
from eagle_jax.models.layers.rope import image_start as image_start
