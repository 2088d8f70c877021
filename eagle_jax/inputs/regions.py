"""Image -> label map: the regions whose visibility is searched over."""

import math

import numpy as np
from jaxtyping import Int32, UInt8

from eagle_jax.errors import InputError

Regions = int | str | np.ndarray

# Larger pictures are divided by SLICO on a thinned copy.
_SEGMENTED_PIXELS = 4_000_000
_FORMS = (
    "a number, 'slico:64', 'grid:8x8', 'grid:64', 'opencv:64' or an integer label map (H, W)"
)


def segment(image: UInt8[np.ndarray, "H W 3"], regions: Regions) -> Int32[np.ndarray, "H W"]:
    """Divides an image into regions.

    The number of regions is approximate except for 'grid:8x8' and for your own map: SLICO
    works from the published region size, int(sqrt(H W / N)) pixels, and places its own seeds;
    above 4 megapixels it sees every second, third, ... pixel of each row and column.
    The result is deterministic.

    Args:
      image: uint8 (H, W, 3) pixels.
      regions: N or 'slico:N' (scikit-image's SLICO, connected regions), 'grid:RxC' (R rows,
        C columns), 'grid:N' (about N nearly square cells), 'opencv:N' (OpenCV-contrib's SLICO,
        which the published results used), or a label map of any integers, whose regions are
        numbered by increasing label.

    Returns:
      Labels, int32 (H, W), every number from 0 to n - 1 in use.

    Raises:
      InputError: an unknown form, a map of another shape or type, more regions than pixels,
        or 'opencv' without OpenCV-contrib.

    References:
      EAGLE, arXiv 2509.22496, section 4.1; SLICO: Achanta et al., TPAMI 2012.
    """
    if isinstance(regions, np.ndarray):
        return _own_map(regions, image.shape[:2])
    kind, _, amount = str(regions).rpartition(":")
    kind = kind or "slico"
    if kind == "grid" and "x" in amount:
        rows, _, columns = amount.partition("x")
        return _grid(image, _count(rows, regions), _count(columns, regions))
    count = _count(amount, regions)
    height, width = image.shape[:2]
    if count > height * width:
        raise InputError(f"{count} regions asked of an image of {width} x {height} pixels")
    if kind == "slico":
        return _slico(image, count)
    if kind == "opencv":
        return _opencv_slico(image, count)
    if kind == "grid":
        rows = min(height, max(1, round(math.sqrt(count * height / width))))
        return _grid(image, rows, min(width, max(1, round(count / rows))))
    raise InputError(f"regions={regions!r} is unknown: expected {_FORMS}")


def _count(text: str, regions: int | str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(f"regions={regions!r} is not understood: expected {_FORMS}")
    return int(text)


def _region_size(image: np.ndarray, count: int) -> int:
    height, width = image.shape[:2]
    return int(math.sqrt(height * width / count))


def _slico(image: np.ndarray, count: int) -> np.ndarray:
    from skimage.segmentation import slic

    height, width = image.shape[:2]
    if height * width > _SEGMENTED_PIXELS:
        # Minutes and gigabytes otherwise, for borders that the model cannot resolve.
        step = math.ceil(math.sqrt(height * width / _SEGMENTED_PIXELS))
        reduced = _slico(np.ascontiguousarray(image[::step, ::step]), count)
        rows, columns = np.arange(height) // step, np.arange(width) // step
        return reduced[rows[:, None], columns]
    seeds = round(height * width / _region_size(image, count) ** 2)
    labels = slic(
        image, n_segments=seeds, slic_zero=True, enforce_connectivity=False, start_label=0
    )
    return _connected(_contiguous(labels))


def _connected(labels: np.ndarray) -> np.ndarray:
    # Each region keeps its largest piece; every other pixel joins the nearest such piece.
    # scikit-image's own step merges scraps with each other, and on fine texture that leaves
    # far fewer regions than asked for (13 of 64 on a noisy checkerboard).
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
            "regions='opencv:...' needs OpenCV's contrib modules: "
            "python -m pip install opencv-contrib-python-headless"
        ) from None
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    superpixels = ximgproc.createSuperpixelSLIC(
        bgr, algorithm=ximgproc.SLICO, region_size=_region_size(image, count), ruler=20.0
    )
    superpixels.iterate(20)
    return _contiguous(superpixels.getLabels())


def _grid(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = image.shape[:2]
    if rows > height or columns > width:
        raise InputError(
            f"a grid of {rows} rows and {columns} columns needs more regions than an image of "
            f"{width} x {height} pixels has"
        )
    row = np.arange(height) * rows // height
    column = np.arange(width) * columns // width
    return (row[:, None] * columns + column).astype(np.int32)


def _own_map(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if labels.shape != shape:
        raise InputError(f"the label map has shape {labels.shape}, the image {shape}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"the label map must hold integers, not {labels.dtype}")
    return _contiguous(labels)


def _contiguous(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
