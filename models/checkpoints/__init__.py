"""Checkpoints on disk: their configuration, their tensors, and the devices of the tensors.

Used by `families` and `scoring`. Read `weights` first, which fills modules with Hugging Face
tensors; `converted` fills them from folders of `eagle-jax convert`. `sharding` spreads weights
over a mesh, `tensor_files` reads safetensors, `hugging_face` and `config_values` config.json.
"""

from eagle_jax.models.checkpoints.converted import read_weights as read_weights
from eagle_jax.models.checkpoints.sharding import mesh_of as mesh_of
from eagle_jax.models.checkpoints.weights import load_weights as load_weights
from eagle_jax.models.checkpoints.weights import read_config as read_config
