"""Attention, and the backends it dispatches to.

For `models.layers`; knows arrays only. Read `attention`: one function, and the choice among
backends behind it. Installed as `eagle_jax.kernels`.
"""

from eagle_jax.kernels.attention import attention as attention
