"""Divides an image into regions: a label map with the region number of every pixel."""

import math

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError

Regions = int | str | np.ndarray
"""A request for regions: their number, a text such as "grid:8x8", or a label map."""
DEFAULT_REGIONS = 64
"""Number of regions that is requested unless the user asks for something else."""

# Images of more pixels, those of 640 x 480, are shrunk to about so many before SLICO divides
# them: its time grows with the pixels, and the model does not see them either.
_MOST_PIXELS, _SHRUNK_PIXELS = 640 * 480, 160_000
# No region is shrunk below this number of pixels on average.
_LEAST_REGION = 64
_FORMS = (
    "a number, 'slico:64', 'grid:8x8', 'grid:64', 'shifted:64', 'opencv:64' or an integer "
    "label map (H, W)"
)
# What further partitions are made of, and their number of regions by that of the first.
_FURTHER = (("slico", 4 / 3), ("shifted", 1), ("slico", 2 / 3), ("shifted", 2 / 3))
MOST_PARTITIONS = 1 + len(_FURTHER)
"""Largest number of partitions that are made without a request for each of them."""


@checked
def segment(image: UInt8[np.ndarray, "H W 3"], regions: Regions) -> Int32[np.ndarray, "H W"]:
    """Divides an image into regions. The result is deterministic.

    Args:
      image: uint8 (H, W, 3) pixels.
      regions: the request, in one of these forms:
        N or 'slico:N': about N connected regions from scikit-image's SLICO, with the
        published region size of int(sqrt(H W / N)) pixels. An image of more than 640 x 480
        pixels is shrunk to 160,000 pixels first (more if N is above 2,500), and its regions
        are enlarged again.
        'grid:RxC': cells in R rows and C columns.
        'grid:N': about N nearly square cells.
        'shifted:N': as many, of a grid shifted by half a cell; at the borders are halves.
        'opencv:N': about N regions from OpenCV-contrib's SLICO, as in the published results.
        A label map, integers (H, W): its regions, numbered by increasing label.

    Returns:
      int32 (H, W) region of every pixel; the numbers 0 to n - 1 all occur.

    Raises:
      InputError: the form is unknown, the label map has another shape or type, there are
        more regions than pixels, or 'opencv' is requested without OpenCV-contrib.

    References:
      EAGLE, arXiv 2509.22496, section 4.1; SLICO: Achanta et al., TPAMI 2012.
    """
    if isinstance(regions, np.ndarray):
        return _from_map(regions, image.shape[:2])
    algorithm, _, amount = str(regions).rpartition(":")
    if algorithm not in ("", "slico", "grid", "shifted", "opencv"):
        raise InputError(f"regions is {regions!r}; it must be {_FORMS}")
    if algorithm == "grid" and "x" in amount:
        rows, _, columns = amount.partition("x")
        return _grid(image, _count(rows, regions), _count(columns, regions))
    count = _count(amount, regions)
    height, width = image.shape[:2]
    if count > height * width:
        raise InputError(
            f"{count} regions requested, but the image has only {width} x {height} pixels"
        )
    if algorithm == "opencv":
        return _opencv_slico(image, count)
    if algorithm in ("grid", "shifted"):
        rows = min(height, max(1, round(math.sqrt(count * height / width))))
        columns = min(width, max(1, round(count / rows)))
        return _grid(image, rows, columns, algorithm == "shifted")
    return _slico(image, count)


@checked
def further_partitions(
    image: UInt8[np.ndarray, "H W 3"], labels: Int32[np.ndarray, "H W"], count: int
) -> list[Int32[np.ndarray, "H W"]]:
    """Divides an image again, into superpixels of other sizes and cells of shifted grids.

    Args:
      image: uint8 (H, W, 3) pixels.
      labels: the first partition.
      count: number of partitions, the first included, from 1 to `MOST_PARTITIONS`.

    Returns:
      The further partitions, ``count - 1`` label maps.
    """
    n = int(labels.max()) + 1
    amounts = [min(max(1, round(size * n)), labels.size) for _, size in _FURTHER]
    forms = [f"{form}:{amount}" for (form, _), amount in zip(_FURTHER, amounts, strict=True)]
    return [segment(image, form) for form in forms[: count - 1]]


def _count(text: str, regions: int | str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"regions is {regions!r}; it must be {_FORMS}")
    return int(text)


def _region_size(image: np.ndarray, count: int) -> int:
    height, width = image.shape[:2]
    return int(math.sqrt(height * width / count))


def _slico(image: np.ndarray, count: int) -> np.ndarray:
    height, width = image.shape[:2]
    seeds = round(height * width / _region_size(image, count) ** 2)
    pixels = max(_SHRUNK_PIXELS, _LEAST_REGION * count)
    if height * width <= max(_MOST_PIXELS, pixels):
        return _slico_from(image, seeds)
    scale = math.sqrt(pixels / (height * width))
    rows, columns = (max(1, round(scale * side)) for side in (height, width))
    shrunk = Image.fromarray(image).resize((columns, rows), Image.Resampling.BOX)
    labels = _slico_from(np.asarray(shrunk), seeds)
    labels = labels.take(np.arange(width) * columns // width, axis=1)
    return labels.take(np.arange(height) * rows // height, axis=0)


def _slico_from(image: np.ndarray, seeds: int) -> np.ndarray:
    from skimage.segmentation import slic

    labels = slic(
        image, n_segments=seeds, slic_zero=True, enforce_connectivity=False, start_label=0
    )
    return _connected(_contiguous(labels))


def _connected(labels: np.ndarray) -> np.ndarray:
    # Each region keeps its largest piece, and all other pixels join the nearest of these
    # pieces. scikit-image merges small pieces with each other instead, which leaves far fewer
    # regions on fine texture (13 of 64 on a noisy checkerboard).
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label

    pieces = np.asarray(label(labels, background=-1, connectivity=1))
    areas = np.bincount(pieces.ravel())
    region = np.zeros(len(areas), np.int64)
    region[pieces] = labels
    by_area = np.lexsort((areas, region))[1:]  # piece 0 is the unused background
    largest = by_area[np.append(np.diff(region[by_area]) > 0, True)]
    nearest = distance_transform_edt(
        ~np.isin(pieces, largest), return_distances=False, return_indices=True
    )
    rows, columns = np.asarray(nearest)
    return labels[rows, columns]


def _opencv_slico(image: np.ndarray, count: int) -> np.ndarray:
    try:
        from cv2 import ximgproc  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "regions 'opencv:N' need OpenCV's contrib modules; install them with "
            "python -m pip install opencv-contrib-python-headless"
        ) from None
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    superpixels = ximgproc.createSuperpixelSLIC(
        bgr, algorithm=ximgproc.SLICO, region_size=_region_size(image, count), ruler=20.0
    )
    superpixels.iterate(20)
    return _contiguous(superpixels.getLabels())


def _grid(image: np.ndarray, rows: int, columns: int, shifted: bool = False) -> np.ndarray:
    height, width = image.shape[:2]
    if rows > height or columns > width:
        raise InputError(
            f"a grid of {rows} rows and {columns} columns requested, but the image has only "
            f"{width} x {height} pixels"
        )
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    if shifted:
        row = (2 * np.arange(height) * (rows - 1) + height) // (2 * height)
        column = (2 * np.arange(width) * (columns - 1) + width) // (2 * width)
    # The last half of a shifted grid of tiny cells has no pixel.
    return (row[:, None] * (column[-1] + 1) + column).astype(np.int32)


def _from_map(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if labels.shape != shape:
        raise InputError(f"the label map has shape {labels.shape}, but the image has {shape}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"the label map must hold integers, not {labels.dtype}")
    return _contiguous(labels)


def _contiguous(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
