"""The parts of the models: vision towers, the decoder, and greedy decoding.

Used by `checkpoints`, `families` and `scoring`. Read `decoder` first. `caching` runs it with
cached keys and values, `decoding` generates answers, `inspection` looks into it. `clip_vit`,
`intern_vit` and `qwen_vit` are the towers, `building_blocks` the layers that all share, `rope`
the positions of tokens.
"""

from eagle_jax.models.layers.building_blocks import in_int8 as in_int8
from eagle_jax.models.layers.decoder import Decoder as Decoder
from eagle_jax.models.layers.precision import full_precision as full_precision
from eagle_jax.models.layers.rope import image_start as image_start
