"""Each lowering against PyTorch, as modules call it: by the dispatch, on traced tensors."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eagle_jax.errors import InputError
from eagle_jax.models.bridge.attention import attend
from eagle_jax.models.bridge.dispatch import Watch
from eagle_jax.models.bridge.traced import (
    Traced,
    Tracing,
    array_of,
    to_numpy,
    traced_by,
    wrapped,
)

G = torch.Generator().manual_seed(0)


def normal(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=G).to(dtype)


def whole(high, *shape):
    return torch.randint(0, high, shape, generator=G)


X, Y, IMAGE = normal(3, 4, 6), normal(4, 6) + 3, normal(2, 4, 6, 8)
POSITIVE, IDS, MASK = X.abs() + 0.1, whole(4, 3, 2), X > 0


def in_place(x):
    x = x.clone()
    x[:, 1] = 5.0
    x[:, 2:] += 1
    x.transpose(0, 1)[0].mul_(2)
    x[..., ::2].masked_fill_(MASK[..., ::2], 0.0)
    return x


def into_plain(x):
    out = torch.zeros(3, 4, 12)
    out[..., 2:8] = x
    rows = out.view(12, 12)
    rows[0] = 1.0
    return out + rows.reshape(3, 4, 12), out[:, ::2], out.permute(2, 0, 1)


def through_views(x):
    x = x.clone()
    view = x.permute(1, 0, 2)[1:3].reshape(2, 3, 2, 3)
    x.add_(1)
    x.unsqueeze(0)[0, 1].zero_()
    return view, x


CASES = {
    "unary": (lambda x: (-x, x.exp(), x.sigmoid(), x.tanh(), x.sin(), x.cos()), X),
    "roots": (lambda x: (x.sqrt(), x.rsqrt(), x**2, x**3, x**0.5, x**-1.5, 2**x), POSITIVE),
    "activations": (
        lambda x: (
            F.relu(x),
            F.silu(x),
            F.gelu(x),
            F.gelu(x, approximate="tanh"),
            F.softplus(x),
        ),
        X,
    ),
    "arithmetic": (
        lambda x, y: (
            x + y,
            x - y,
            x * y,
            x / y,
            torch.add(x, y, alpha=3),
            torch.rsub(x, 2, alpha=2),
            torch.div(x, y, rounding_mode="floor"),
            torch.div(x, y, rounding_mode="trunc"),
        ),
        X,
        Y,
    ),
    "comparisons": (lambda x, y: (x == y, x != y, x < y, x <= y, x > y, x >= y), X, Y),
    "integers": (lambda i: (i // 2, i / 2, i**2, i * 2.5, -i), IDS),
    "booleans": (
        lambda m, x: (
            m._is_all_true(),
            m._is_any_true(),
            ~m,
            m & (x > 1),
            m | (x > 1),
            m.any(),
            m.all(1),
            m.logical_not(),
            m.logical_and(x),
            m.logical_or(x),
        ),
        MASK,
        X,
    ),
    "casts": (lambda x: (x.int(), x.long(), x.bool(), x.half(), x.to(torch.bfloat16)), X * 3),
    "where": (
        lambda m, x: (torch.where(m, x, 0.0), x.masked_fill(m, -1), x.clamp(-0.5, 0.5)),
        MASK,
        X,
    ),
    "complex": (
        lambda x: torch.view_as_real(
            torch.view_as_complex(x.reshape(3, 4, 3, 2))
            * torch.polar(x[0, :3, :3], x[0, :3, :3])[0]
        ),
        POSITIVE,
    ),
    "sums": (
        lambda x: (
            x.sum(),
            x.sum(1),
            x.sum((0, 2), keepdim=True),
            x.mean(-1),
            x.cumsum(1),
            (x > 0).cumsum(0),
            x.softmax(1),
        ),
        X,
    ),
    "order": (
        lambda x: (*x.topk(3), *x.topk(2, 1, largest=False), *x.sort(-1), x.argsort(1)),
        X,
    ),
    "grouped_mm": (
        lambda x, w: torch._grouped_mm(x, w, offs=torch.tensor([5, 12]).int()),
        normal(12, 8),
        normal(2, 8, 4),
    ),
    "histc": (lambda x: x.histc(4, 0, 3), IDS.float()),
    "views": (
        lambda x: (x.view(12, 6), x.flatten(1), x.transpose(0, 2), x.permute(2, 0, 1), x.mT),
        X,
    ),
    "slices": (
        lambda x: (x[1], x[:, 1:3], x[..., -1], x[::2, :, 1::2], x.narrow(1, 1, 2), x[None]),
        X,
    ),
    "split": (
        lambda x: (*x.split(2, 1), *x.split([1, 3], 1), *x.chunk(3, -1), *x.unbind(0)),
        X,
    ),
    "expand": (lambda x: (x[:1].expand(5, -1, -1), x[:, :1].squeeze(1), x.repeat(2, 1, 3)), X),
    "join": (
        lambda x, y: (torch.cat([x, x], 1), torch.stack([x, x], -1), torch.cat([y, y])),
        X,
        Y,
    ),
    "pad": (
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=3.0), F.pad(x, (-1, 0))),
        X,
    ),
    "new": (
        lambda x: (
            torch.zeros_like(x),
            torch.full_like(x, 2),
            torch.ones_like(x, dtype=torch.int64),
            torch.empty_like(x).fill_(1),
            x.detach(),
        ),
        X,
    ),
    "index": (
        lambda x, i: (
            x[i],
            x[:, i[0]],
            x[i[:, 0], 1],
            torch.index_put(x, (torch.tensor([0, 2]),), torch.ones(4, 6)),
        ),
        X,
        whole(3, 3, 2),
    ),
    "cells": (
        lambda x, i: (
            x.gather(1, i[..., None].expand(-1, -1, 6)),
            torch.zeros(3, 4).scatter(1, i, 1.0),
            x[..., 0].scatter(1, torch.tensor([[0, 2], [1, 3], [3, 0]]), x[:, :2, 1]),
        ),
        X,
        IDS,
    ),
    "embedding": (lambda i, w: F.embedding(i, w), IDS, Y),
    "masked_scatter": (lambda x, m: x.masked_scatter(m, X + 1), X, MASK),
    "one_hot": (lambda i: F.one_hot(i, 5), IDS),
    "products": (
        lambda x, y: (
            x @ y.T,
            x @ x.mT,
            F.linear(x[0], y, y[:, 0]),
            y @ y[0],
            torch.einsum("bsd,td->bst", x, y),
            torch.baddbmm(x[..., :4], x, x.mT),
        ),
        X,
        Y,
    ),
    "solve": (
        lambda x: torch.linalg.solve_triangular(x @ x.mT + 5 * torch.eye(4), x, upper=False),
        X,
    ),
    "norms": (
        lambda x, y: (
            F.layer_norm(x, (6,), y[0], y[1]),
            F.layer_norm(x, (4, 6)),
            F.rms_norm(x, (6,), y[0], 1e-6),
        ),
        X,
        Y,
    ),
    "patches": (lambda x, w: F.conv2d(x, w, stride=2), IMAGE, normal(5, 4, 2, 2)),
    "conv2d": (
        lambda x, w: F.conv2d(x, w, w[:, 0, 0, 0], padding=1, dilation=2),
        IMAGE,
        normal(5, 4, 3, 3),
    ),
    "conv1d": (lambda x, w: F.conv1d(x, w, padding=2, groups=2), X, normal(2, 2, 3)),
    "conv3d": (
        lambda x, w: F.conv3d(x[None], w, stride=(2, 3, 2)),
        IMAGE[:, :, :6],
        normal(3, 2, 2, 3, 2),
    ),
    "windows": (
        lambda x: (
            F.avg_pool2d(x, 2),
            F.avg_pool2d(x, 3, 2, 1),
            F.avg_pool1d(x[0], 2),
            F.unfold(x, 2, stride=2),
        ),
        IMAGE,
    ),
    "taken apart by PyTorch": (
        lambda x: (
            F.hardswish(x),
            F.leaky_relu(x),
            F.interpolate(x, size=(9, 5), mode="bilinear"),
            F.pixel_shuffle(x, 2),
            F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3),
        ),
        IMAGE,
    ),
    "in place": (in_place, X),
    "into plain": (into_plain, X),
    "through views": (through_views, X),
}


def run(function, tensors, hints=False):
    """A function of traced tensors, as NumPy arrays, and PyTorch's account of the results."""
    with traced_by(Tracing()), torch.no_grad(), Watch():
        inputs = [wrapped(to_numpy(t), t.dtype, t.clone() if hints else None) for t in tensors]
        results = function(*inputs)
        results = results if isinstance(results, tuple | list) else (results,)
        arrays = [np.asarray(array_of(result)) for result in results]
        return arrays, [r.meta if isinstance(r, Traced) else r for r in results]


@pytest.mark.parametrize("name", CASES)
def test_a_lowering_gives_what_pytorch_gives(name):
    function, *tensors = CASES[name]
    hints = name in ("masked_scatter", "one_hot")
    arrays, metas = run(function, tensors, hints)
    wanted = function(*tensors)
    wanted = wanted if isinstance(wanted, tuple | list) else (wanted,)
    assert len(arrays) == len(wanted)
    for array, meta, want in zip(arrays, metas, wanted, strict=True):
        assert (meta.dtype, meta.shape) == (want.dtype, want.shape)
        want = to_numpy(want)
        assert array.dtype == want.dtype
        np.testing.assert_allclose(
            array.astype(np.float32), want.astype(np.float32), rtol=1e-5, atol=2e-6
        )


@pytest.mark.parametrize("name", ["products", "norms", "activations", "sums", "arithmetic"])
def test_bfloat16_rounds_no_worse_than_pytorch(name):
    function, *tensors = CASES[name]
    arrays, _ = run(function, [t.bfloat16() for t in tensors])
    exact, _ = run(function, [t.bfloat16().float() for t in tensors])
    wanted = function(*(t.bfloat16() for t in tensors))
    wanted = wanted if isinstance(wanted, tuple | list) else (wanted,)
    for array, true, want in zip(arrays, exact, wanted, strict=True):
        assert array.dtype == to_numpy(want).dtype
        ours = abs(array.astype(np.float32) - true).max()
        theirs = abs(want.float().numpy() - true).max()
        assert ours <= 1.5 * theirs + 1e-3


def test_an_operation_without_a_lowering_is_named_with_its_module():
    class Spectrum(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft(x)

    with pytest.raises(InputError, match=r"Spectrum \(test_lowerings.*operation _fft_r2c"):
        run(Spectrum(), [X])


def test_a_branch_on_weights_is_refused_and_one_on_the_question_is_guarded():
    def branch(x):
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(InputError, match="branches on a value that follows from the weights"):
        run(branch, [X])
    state = Tracing()
    with traced_by(state), torch.no_grad(), Watch():
        other = -to_numpy(POSITIVE)
        result = branch(wrapped(other, hint=POSITIVE.clone()))
    np.testing.assert_array_equal(array_of(result), other + 1)
    assert [bool(held) for held, _ in state.guards] == [False]


def test_a_large_constant_becomes_an_argument_and_a_uniform_one_a_fill():
    state = Tracing()
    ramp = torch.arange(2.0**17)
    with traced_by(state), torch.no_grad(), Watch():
        x = wrapped(np.ones(2**17, np.float32))
        total = x + ramp + torch.full((2**17,), 3.0) + ramp
        np.testing.assert_array_equal(array_of(total), 2 * ramp.numpy() + 4)
    (large,) = state.large
    np.testing.assert_array_equal(large, ramp)


@pytest.mark.parametrize("scale", [None, 0.4])
@pytest.mark.parametrize("causal", [True, False])
def test_long_attention_is_that_of_pytorch(causal, scale):
    query, key, value = normal(1, 4, 130, 8), normal(1, 2, 130, 8), normal(1, 2, 130, 8)
    ours = attend(
        *(jnp.asarray(to_numpy(x)) for x in (query, key, value)), causal=causal, scale=scale
    )
    wanted = F.scaled_dot_product_attention(
        query, key, value, is_causal=causal, scale=scale, enable_gqa=True
    )
    np.testing.assert_allclose(ours, wanted, atol=2e-6)
