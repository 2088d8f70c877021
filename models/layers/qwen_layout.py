"""The shape of a Qwen-VL vision tower, and what it precomputes for a grid of patches."""

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

# Fixed in the published architecture, absent from its configuration files.
_ROPE_THETA = 10000.0


class Blocks(NamedTuple):
    """Equal blocks of consecutive layers.

    Attributes:
      repeats: number of blocks.
      windowed: number of windowed layers at the beginning of each block.
      full: number of full layers behind them.
    """

    repeats: int
    windowed: int
    full: int


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision tower.

    Attributes:
      frames: number of frames of a temporal patch.
      merge: side, in patches, of the square that becomes one visual token.
      window: side of an attention window in visual tokens; None without windows.
      full_layers: layers that attend over the whole image, in rising order; the others attend
        within windows.
      output: size of a visual token.
      activation: activation of two-layer MLPs, which go with layer norms; None for gated
        MLPs, which go with root-mean-square norms.
      places: side of the learned grid of positions, which is stretched over the image, and
        which goes with a bias of the patch embedding; 0 for no learned positions.
      deep_layers: layers whose output is merged as well, for the first layers of the decoder;
        in rising order.
    """

    embed: int
    layers: int
    heads: int
    mlp: int
    channels: int
    patch: int
    frames: int
    merge: int
    full_layers: tuple[int, ...]
    output: int
    window: int | None = None
    activation: str | None = None
    places: int = 0
    deep_layers: tuple[int, ...] = ()

    @property
    def windowed_layers(self) -> tuple[int, ...]:
        """Layers that attend within windows."""
        return tuple(i for i in range(self.layers) if i not in self.full_layers)

    @property
    def blocks(self) -> tuple[Blocks, ...]:
        """All layers in order; a block also ends with each of the ``deep_layers``.

        The published Qwen2.5 towers have ``(Blocks(4, 7, 1),)``.
        """
        pairs = [(0, 0)]
        for i in range(self.layers):
            is_full = i in self.full_layers
            if (not is_full and pairs[-1][1]) or i - 1 in self.deep_layers:
                pairs.append((0, 0))
            windowed, full = pairs[-1]
            pairs[-1] = (windowed, full + 1) if is_full else (windowed + 1, full)
        return tuple(Blocks(len(list(same)), *pair) for pair, same in itertools.groupby(pairs))

    def span(self, patches: int) -> int:
        """Largest number of tokens that a patch attends to in an image of so many patches."""
        return patches

    def flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations of tower and mergers for a grid of patches."""
        patches, embed = grid[0] * grid[1], self.embed
        windows = np.asarray(vision_layout(self, grid).windows, dtype=np.float64)
        matrices = 3 if self.activation is None else 2
        linear = 2 * patches * embed * (4 * embed + matrices * self.mlp)
        squares = len(self.full_layers) * float(patches) ** 2
        squares += len(self.windowed_layers) * float((windows**2).sum())
        joined = embed * self.merge**2
        merger = 2 * patches / self.merge**2 * joined * (joined + self.output)
        mergers = (1 + len(self.deep_layers)) * merger
        patch_embed = 2 * patches * self.channels * self.patch**2 * embed
        return patch_embed + self.layers * linear + 4 * embed * squares + mergers


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["order", "inverse", "cos", "sin", "neighbours", "neighbour_weights"],
    meta_fields=["windows"],
)
@dataclasses.dataclass(frozen=True)
class VisionLayout:
    """Where the patches of an image go: data, so that grids of one shape share a program.

    The tower works in window order: all patches of one window, then of the next, the largest
    windows first, so that windows of one size stand together.

    Attributes:
      order: int (p,), index of each patch of the window order in the processor's order.
      inverse: int (v,), index of each visual token of the raster order in the window order.
      cos: float (p, f), rotary cosines in window order.
      sin: float (p, f), rotary sines in window order.
      neighbours: int (p, 4), the learned positions around each patch; None without learned
        positions.
      neighbour_weights: float (p, 4), weights of their mean; None without learned positions.
      windows: number of patches of each window.
    """

    # Any: JAX also rebuilds layouts that hold placeholders, shardings or axis numbers.
    order: Any
    inverse: Any
    cos: Any
    sin: Any
    neighbours: Any
    neighbour_weights: Any
    windows: tuple[int, ...]


def vision_layout(config: VisionConfig, grid: tuple[int, int]) -> VisionLayout:
    """Lays a grid of patches out for the tower, on the host.

    Args:
      config: shape of the tower.
      grid: rows and columns of patches, both multiples of ``config.merge``.

    Returns:
      Index arrays and rotary tables.
    """
    merge = config.merge
    tokens, windows = _window_order(grid[0] // merge, grid[1] // merge, config.window)
    # The processor's order: the merge x merge patches of a visual token, then of the next.
    token_row, token_column = np.divmod(tokens, grid[1] // merge)
    inner = np.arange(merge * merge)
    inner_row, inner_column = np.divmod(inner, merge)
    row = (token_row[:, None] * merge + inner_row).ravel()
    column = (token_column[:, None] * merge + inner_column).ravel()
    cos, sin = _rotation(row, column, config.embed // config.heads)
    neighbours = neighbour_weights = None
    if config.places:
        above, row_weights = _nearest(row, grid[0], config.places)
        left, column_weights = _nearest(column, grid[1], config.places)
        neighbours = above[:, :, None] * config.places + left[:, None, :]
        neighbours = neighbours.reshape(-1, 4)
        weights = row_weights[:, :, None] * column_weights[:, None, :]
        neighbour_weights = weights.reshape(-1, 4)
    return VisionLayout(
        order=(tokens[:, None] * merge**2 + inner).ravel().astype(np.int32),
        inverse=np.argsort(tokens).astype(np.int32),
        cos=cos,
        sin=sin,
        neighbours=neighbours,
        neighbour_weights=neighbour_weights,
        windows=tuple(sorted((windows * merge**2).tolist(), reverse=True)),
    )


def _window_order(rows: int, columns: int, window: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Visual tokens in window order, and the number of tokens of each window."""
    side = window or max(rows, columns)
    row, column = np.divmod(np.arange(rows * columns), columns)
    windows = row // side * -(-columns // side) + column // side
    sizes = np.bincount(windows)
    return np.lexsort((windows, -sizes[windows])), sizes


def _rotation(row: np.ndarray, column: np.ndarray, head: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines, half of the frequencies by row, half by column."""
    quarter = head // 4
    frequency = _ROPE_THETA ** (-np.arange(quarter, dtype=np.float32) / quarter)
    angles = np.concatenate([row[:, None] * frequency, column[:, None] * frequency], axis=1)
    angles = angles.astype(np.float32)
    return np.cos(angles), np.sin(angles)


def _nearest(index: np.ndarray, size: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """The two learned positions around each row or column, and their weights.

    The first and the last position lie on the first and the last row or column of the image.
    """
    stretched = index.astype(np.float32) * np.float32(places - 1) / np.float32(max(size - 1, 1))
    low = np.floor(stretched).astype(np.int32)
    fraction = stretched - low
    neighbours = np.stack([low, np.minimum(low + 1, places - 1)], axis=1)
    return neighbours, np.stack([1 - fraction, fraction], axis=1)
