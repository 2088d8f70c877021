"""Checkpoints on disk: their configuration, their tensors, and the devices these go to.

For `families` and `scoring`. Read `weights` first: Hugging Face tensors into modules.
`converted` does the same for folders of `eagle-jax convert`, `sharding` spreads weights over a
mesh, `tensor_files` reads safetensors, and `hugging_face` and `config_values` config.json.
"""

from eagle_jax.models.checkpoints.converted import read_weights as read_weights
from eagle_jax.models.checkpoints.sharding import mesh_of as mesh_of
from eagle_jax.models.checkpoints.weights import load_weights as load_weights
from eagle_jax.models.checkpoints.weights import read_config as read_config
