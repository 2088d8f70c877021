"""Each lowering against PyTorch, as modules call it: by the dispatch, on traced tensors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eagle_jax.errors import InputError
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

UNARY = {
    name: X
    for name in "abs neg exp expm1 exp2 sigmoid tanh erf sin cos floor ceil trunc sign round "
    "reciprocal square atan".split()
}
UNARY |= {name: POSITIVE for name in "log log1p log2 sqrt rsqrt".split()}
UNARY |= {name: X.clamp(-0.9, 0.9) for name in "acos asin".split()}
ACTIVATIONS = (
    "relu silu gelu softplus leaky_relu elu hardsigmoid hardswish hardtanh mish logsigmoid glu"
).split()
BINARY = "add sub mul div maximum minimum eq ne lt le gt ge atan2 fmod remainder".split()


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
    **{name: (getattr(torch, name), x) for name, x in UNARY.items()},
    **{f"F.{name}": (getattr(F, name), X) for name in ACTIVATIONS},
    **{name: (getattr(torch, name), X, Y) for name in BINARY},
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), X),
    "add alpha": (lambda x, y: torch.add(x, y, alpha=3) + torch.rsub(x, 2, alpha=2), X, Y),
    "div floor": (lambda x, y: torch.div(x, y, rounding_mode="floor"), X, Y),
    "div trunc": (lambda x, y: torch.div(x, y, rounding_mode="trunc"), X, Y),
    "integers": (lambda i: (i // 2, i / 2, i % 3, i**2, i * 2.5, -i), IDS),
    "pow": (lambda x: (x**2, x**3, x**0.5, x**-1.5, 2**x), POSITIVE),
    "booleans": (
        lambda m: (
            m._is_all_true(),
            m._is_any_true(),
            ~m,
            m & m.roll(1),
            m | m.flip(0),
            m ^ m.roll(1),
            m.any(),
            m.all(),
        ),
        MASK,
    ),
    "logical": (
        lambda m, x: (m.logical_not(), m.logical_and(x > 1), m.logical_or(x > 1)),
        MASK,
        X,
    ),
    "casts": (lambda x: (x.int(), x.long(), x.bool(), x.half(), x.to(torch.bfloat16)), X * 3),
    "where": (lambda m, x: (torch.where(m, x, 0.0), x.masked_fill(m, -1)), MASK, X),
    "clamp": (lambda x: (x.clamp(-0.5, 0.5), x.clamp(min=0.1), x.clamp_max(0.3)), X),
    "lerp": (lambda x, y: (torch.lerp(x, y, 0.3), torch.addcmul(x, x, y, value=2)), X, Y),
    "nan": (lambda x: (x / 0).nan_to_num(0.5, 9, -9).isnan() | (x / 0).isinf(), X),
    "complex": (
        lambda x: torch.view_as_real(
            torch.view_as_complex(x.reshape(3, 4, 3, 2))
            * torch.polar(x[0, :3, :3].abs(), x[0, :3, :3])[0]
        ),
        X,
    ),
    "sum": (lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.mean(-1)), X),
    "extremes": (
        lambda x: (x.amax(1), x.amin((0, 1)), x.max(), *x.max(1), *x.min(-1, keepdim=True)),
        X,
    ),
    "argmax": (lambda x: (x.argmax(1), x.argmin(), x.argmax(-1, keepdim=True)), X),
    "var": (
        lambda x: (
            x.var(-1),
            x.std(1, unbiased=False),
            x.var(1, correction=0),
            x.prod(2),
            *torch.var_mean(x, 1),
        ),
        X,
    ),
    "norm": (lambda x: (x.norm(dim=-1), torch.linalg.vector_norm(x, 1, -1), F.normalize(x)), X),
    "cumsum": (lambda x: (x.cumsum(1), x.cumprod(-1), (x > 0).cumsum(0)), X),
    "logsumexp": (lambda x: (x.logsumexp(-1), x.softmax(1), x.log_softmax(-1)), X),
    "topk": (
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
    "move": (
        lambda x: (x.flip(1), x.roll((1, 2), (0, 1)), x.tril(), x.triu(1), x.diagonal(0, 1, 2)),
        X,
    ),
    "pad": (
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=3.0), F.pad(x, (-1, 0))),
        X,
    ),
    "unfold": (lambda x: (x.unfold(2, 3, 2), x.as_strided((2, 3), (6, 2), 1)), X),
    "repeat": (lambda x: x.repeat_interleave(2, dim=1), X),
    "new": (
        lambda x: (
            torch.zeros_like(x),
            x.new_ones(2),
            torch.full_like(x, 2),
            x.new_full((3,), 4),
            torch.ones_like(x, dtype=torch.int64),
            x.new_zeros(2),
            torch.empty_like(x).fill_(1),
            x.new_empty(2).zero_(),
            x.detach(),
        ),
        X,
    ),
    "index": (
        lambda x, i: (x[i], x[:, i[0]], x[i[:, 0], 1], x.index_select(1, i[0])),
        X,
        whole(3, 3, 2),
    ),
    "index_put": (lambda x: torch.index_put(x, (torch.tensor([0, 2]),), torch.ones(4, 6)), X),
    "gather": (
        lambda x, i: (
            x.gather(1, i[..., None].expand(-1, -1, 6)),
            x.take_along_dim(i[..., None], 1),
        ),
        X,
        IDS,
    ),
    "scatter": (
        lambda x, i: (
            torch.zeros(3, 4).scatter(1, i, 1.0),
            x[..., 0].scatter(1, i, x[:, :2, 1]),
            torch.zeros(3, 4).scatter_add(1, i, x[:, :2, 0]),
        ),
        X,
        IDS,
    ),
    "index_add": (lambda x: x.index_add(1, torch.tensor([0, 0, 3]), torch.ones(3, 3, 6)), X),
    "embedding": (lambda i, w: F.embedding(i, w), IDS, Y),
    "masked_scatter": (lambda x, m: x.masked_scatter(m, X.flip(0)), X, MASK),
    "one_hot": (lambda i: F.one_hot(i, 5), IDS),
    "matmul": (
        lambda x, y: (x @ y.T, x @ x.mT, F.linear(x, y), F.linear(x[0], y, y[:, 0]), y @ y[0]),
        X,
        Y,
    ),
    "einsum": (
        lambda x, y: (torch.einsum("bsd,td->bst", x, y), torch.baddbmm(x, x @ x.mT, x)),
        X,
        Y,
    ),
    "solve": (
        lambda x: torch.linalg.solve_triangular(x @ x.mT + 5 * torch.eye(4), x, upper=False),
        X,
    ),
    "layer_norm": (
        lambda x, y: (F.layer_norm(x, (6,), y[0], y[1]), F.layer_norm(x, (4, 6))),
        X,
        Y,
    ),
    "rms_norm": (lambda x, y: (F.rms_norm(x, (6,), y[0], 1e-6), F.rms_norm(x, (6,))), X, Y),
    "group_norm": (
        lambda x, y: (F.group_norm(x, 2), F.group_norm(x, 4, y[:, 0], y[:, 1])),
        IMAGE,
        Y,
    ),
    "batch_norm": (
        lambda x, y: F.batch_norm(x, y[:, 0], y[:, 1].abs(), y[:, 2], y[:, 3]),
        IMAGE,
        Y,
    ),
    "patches": (lambda x, w: F.conv2d(x, w, stride=2), IMAGE, normal(5, 4, 2, 2)),
    "conv2d": (
        lambda x, w: F.conv2d(x, w, w[:, 0, 0, 0], padding=1, dilation=2),
        IMAGE,
        normal(5, 4, 3, 3),
    ),
    "grouped": (lambda x, w: F.conv2d(x, w, padding=1, groups=4), IMAGE, normal(8, 1, 3, 3)),
    "conv1d": (lambda x, w: F.conv1d(x, w, padding=2)[..., :6], X, normal(2, 4, 3)),
    "conv3d": (
        lambda x, w: F.conv3d(x[None], w, stride=(2, 3, 2)),
        IMAGE[:, :, :6],
        normal(3, 2, 2, 3, 2),
    ),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        IMAGE,
        normal(4, 5, 3, 3),
    ),
    "transposed, groups": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=2),
        IMAGE,
        normal(4, 3, 2, 2),
    ),
    "pools": (
        lambda x: (
            F.max_pool2d(x, 3, 2, 1),
            F.avg_pool2d(x, 2),
            F.avg_pool2d(x, 3, 2, 1),
            F.avg_pool1d(x[0], 2),
        ),
        IMAGE,
    ),
    "adaptive": (
        lambda x: (
            F.adaptive_avg_pool2d(x, (4, 3)),
            F.adaptive_avg_pool1d(x[0], 5),
            F.adaptive_avg_pool2d(x, 1),
        ),
        IMAGE,
    ),
    "bilinear": (
        lambda x: (
            F.interpolate(x, size=(9, 5), mode="bilinear"),
            F.interpolate(x, size=(3, 8), mode="bilinear", align_corners=True),
        ),
        IMAGE,
    ),
    "bicubic": (
        lambda x: (
            F.interpolate(x, size=(9, 5), mode="bicubic"),
            F.interpolate(x, scale_factor=(1.5, 0.7), mode="bicubic", align_corners=False),
        ),
        IMAGE,
    ),
    "nearest": (
        lambda x: (F.interpolate(x, size=(9, 5)), F.interpolate(x, scale_factor=2.0)),
        IMAGE,
    ),
    "pixel_shuffle": (
        lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.unfold(x, 2, stride=2)),
        IMAGE,
    ),
    "attention": (lambda q: F.scaled_dot_product_attention(q, q.flip(2), q), IMAGE),
    "attention, causal": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True, scale=0.3),
        IMAGE,
    ),
    "attention, mask": (
        lambda q: F.scaled_dot_product_attention(
            q, q, q, attn_mask=torch.ones(6, 6).tril().bool()
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["matmul", "layer_norm", "F.gelu", "sum", "logsumexp", "add"])
def test_half_precision_rounds_no_worse_than_pytorch(name, dtype):
    function, *tensors = CASES[name]
    arrays, _ = run(function, [t.to(dtype) for t in tensors])
    exact, _ = run(function, [t.to(dtype).float() for t in tensors])
    wanted = function(*(t.to(dtype) for t in tensors))
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
