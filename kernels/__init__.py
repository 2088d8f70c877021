"""Attention, and the backends it dispatches to.

For `models.layers`; knows arrays only. Read `attention`: one function, and the choice among
backends behind it, of which `plain` is the simple one. Installed as `eagle_jax.kernels`.
"""

from eagle_jax.kernels.attention import attention as attention
from eagle_jax.kernels.attention import unsplit as unsplit
from eagle_jax.kernels.plain import rms_norm as rms_norm
from eagle_jax.kernels.plain import rotate as rotate
