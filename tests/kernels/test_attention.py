"""The kernels against plain attention, and plain attention against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eagle_jax.kernels import attention, rms_norm, rotate, unsplit
from eagle_jax.kernels.fused_tpu import fused_attention

# Ragged ends; heads of 64, 80 and 128 numbers, alone and sharing keys; windows that share a
# block of rows and that fill one; numbers of heads that fill no lanes.
CASES = {
    "causal, heads share keys": ((1, 300, 4, 2, 128), {"causal": True, "norms": True}, True),
    "causal, one block": ((1, 24, 2, 1, 80), {"causal": True}, True),
    "whole, no rotation": ((1, 577, 2, 2, 64), {}, False),
    "whole, eight heads": ((1, 268, 8, 8, 80), {}, True),
    "windows": (
        (2, 620, 2, 2, 80),
        {"windows": (64,) * 7 + (48,) * 2 + (16,) * 4 + (12,)},
        True,
    ),
    "one large window": ((1, 400, 2, 2, 64), {"windows": (320, 64, 16)}, True),
}


def made(shape, rotated, seed=0):
    b, s, h, k, d = shape
    random = np.random.default_rng(seed)
    query, key, value = (
        jnp.asarray(random.standard_normal((b, s, heads, d)), jnp.float32)
        for heads in (h, k, k)
    )
    angles = jnp.asarray(random.uniform(0, 6, (s, d // 2)), jnp.float32)
    return query, key, value, (jnp.cos(angles), jnp.sin(angles)) if rotated else None


def written_out(query, key, value, rotation, causal=False, windows=None, norms=None):
    s, h = query.shape[1:3]
    if norms is not None:
        query, key = (
            rms_norm(a, n, norms[2]) for a, n in zip((query, key), norms, strict=False)
        )
    if rotation is not None:
        query, key = (np.asarray(rotate(a, rotation), np.float64) for a in (query, key))
    u = key.shape[1]
    part = np.repeat(np.arange(len(windows or (u,))), windows or (u,))
    seen = part[-s:, None] == part
    if causal:
        seen &= np.tri(s, u, u - s, dtype=bool)
    key, value = (np.repeat(a, h // a.shape[2], axis=2) for a in (key, value))
    scores = np.einsum("bshd,buhd->bhsu", query, key) / np.sqrt(query.shape[-1])
    shares = np.exp(scores) * seen
    return np.einsum("bhsu,buhd->bshd", shares / shares.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("name", CASES)
def test_plain_and_fused_attention_equal_sums_written_out(name):
    shape, options, rotated = CASES[name]
    query, key, value, rotation = made(shape, rotated)
    if "norms" in options:
        scales = jnp.linspace(0.5, 2, shape[-1]), jnp.linspace(2, 1, shape[-1])
        options = options | {"norms": (*scales, 1e-6)}
    expected = written_out(query, key, value, rotation, **options)
    plain = jax.jit(lambda *args: attention(*args[:3], rotation=args[3], **options))
    np.testing.assert_allclose(plain(query, key, value, rotation), expected, atol=5e-6)
    asked = {"causal": False, "windows": None, "norms": None} | options
    fused = fused_attention(query, key, value, rotation=rotation, interpret=True, **asked)
    np.testing.assert_allclose(fused, expected, atol=5e-6)


def test_the_last_queries_of_a_sequence_see_all_keys_up_to_their_own():
    query, key, value, _ = made((1, 600, 4, 2, 128), False)
    query = query[:, -290:]
    expected = written_out(query, key, value, None, causal=True)
    np.testing.assert_allclose(attention(query, key, value, causal=True), expected, atol=5e-6)
    fused = fused_attention(
        query, key, value, causal=True, windows=None, norms=None, rotation=None, interpret=True
    )
    np.testing.assert_allclose(fused, expected, atol=5e-6)


def test_half_precision_rounds_where_plain_attention_does():
    query, key, value, rotation = made((1, 144, 4, 2, 128), True)
    half = [a.astype(jnp.bfloat16) for a in (query, key, value)]
    fused = fused_attention(
        *half, rotation=rotation, norms=None, causal=True, windows=None, interpret=True
    )
    plain = attention(*half, rotation=rotation, causal=True)
    exact = written_out(*half, rotation, causal=True)
    error, allowed = (
        np.sqrt(np.mean((np.asarray(one, np.float64) - exact) ** 2)) for one in (fused, plain)
    )
    assert fused.dtype == jnp.bfloat16
    assert error < 1.05 * allowed


@pytest.mark.parametrize(
    "dtype, holds, fused",
    [("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)],
)
def test_the_platform_compiled_for_decides(dtype, holds, fused):
    query, key, value, rotation = made((1, 32, 2, 1, 128), True)
    arrays = [a.astype(dtype) for a in (query, key, value)]

    @jax.jit
    def attend(query, key, value):
        with unsplit(holds):
            return attention(query, key, value, causal=True, rotation=rotation)

    lowered = {
        platform: attend.trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "tpu")
    }
    assert "tpu_custom_call" not in lowered["cpu"]
    assert ("tpu_custom_call" in lowered["tpu"]) == fused
