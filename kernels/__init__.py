"""Attention and the backends it dispatches to."""

from eagle_jax.kernels.attention import attention as attention
