"""Attention, and the backends that compute it.

Used by `models.layers`; knows arrays only. Read `attention` first, one function and the choice
of its backend: `plain` is the simplest backend, `fused_tpu` a Pallas kernel. Installed as
`eagle_jax.kernels`.
"""

from eagle_jax.kernels.attention import attention as attention
from eagle_jax.kernels.attention import unsplit as unsplit
from eagle_jax.kernels.plain import rms_norm as rms_norm
from eagle_jax.kernels.plain import rotate as rotate
