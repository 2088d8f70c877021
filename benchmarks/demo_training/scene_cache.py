"""Training scenes, drawn once into .npy files while training already goes on.

python benchmarks/demo_training/scene_cache.py FOLDER --scenes 40000 --first-seed 0
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.scenes import Scene, draw_scene

NOTHING = 255
_COLOUR_INDEX = {name: index for index, name in enumerate(COLOURS)}
_KIND_INDEX = {name: index for index, name in enumerate(KINDS)}
_CHUNK = 500
_PATCH, _GRID, _MERGE = 14, 12, 2
# A patch shows an object that covers at least this many of its 196 pixels.
_COVERED = 30


class SceneCache(NamedTuple):
    """Memory-mapped scenes; row i belongs to seed ``first_seed + i``.

    Attributes:
      images: the images.
      objects: colour and kind number of up to four objects, left to right; `NOTHING` after.
      patches: kind and colour number each patch shows, 0 for the background, patches in the
        order of the image processor (2 x 2 blocks of neighbours).
    """

    images: UInt8[np.ndarray, "i 168 168 3"]
    objects: UInt8[np.ndarray, "i 4 2"]
    patches: UInt8[np.ndarray, "i 144 2"]

    def named(self, index: int) -> list[tuple[str, str]]:
        """The (colour, kind) of each object of one scene, from left to right."""
        colours, kinds = tuple(COLOURS), KINDS
        rows = self.objects[index]
        return [(colours[c], kinds[k]) for c, k in rows[rows[:, 0] != NOTHING].tolist()]


def patch_labels(scene: Scene) -> UInt8[np.ndarray, "144 2"]:
    """Kind and colour number that each patch shows, 0 for the background."""
    masks = np.stack([item.mask for item in scene.objects])
    covered = masks.reshape(-1, _GRID, _PATCH, _GRID, _PATCH).sum(axis=(2, 4))
    numbers = [
        (_KIND_INDEX[item.kind] + 1, _COLOUR_INDEX[item.colour] + 1) for item in scene.objects
    ]
    labels = np.asarray(numbers, np.uint8)[covered.argmax(axis=0)]
    labels[covered.max(axis=0) < _COVERED] = 0
    blocks = labels.reshape(_GRID // _MERGE, _MERGE, _GRID // _MERGE, _MERGE, 2)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(-1, 2)


def object_numbers(scene: Scene) -> UInt8[np.ndarray, "4 2"]:
    """Colour and kind number of each object, left to right, `NOTHING` after the last."""
    numbers = np.full((4, 2), NOTHING, np.uint8)
    for row, item in zip(numbers, scene.objects, strict=False):
        row[:] = _COLOUR_INDEX[item.colour], _KIND_INDEX[item.kind]
    return numbers


def draw_scenes(first_seed: int, count: int) -> SceneCache:
    """Draws scenes into memory, for evaluation and tests."""
    return cached([draw_scene(first_seed + index) for index in range(count)])


def cached(scenes: Sequence[Scene]) -> SceneCache:
    """Scenes as the arrays of a cache."""
    return SceneCache(
        np.stack([scene.image for scene in scenes]),
        np.stack([object_numbers(scene) for scene in scenes]),
        np.stack([patch_labels(scene) for scene in scenes]),
    )


def fill_cache(folder: Path, scenes: int, first_seed: int) -> None:
    """Draws what is missing of a cache of `scenes` scenes, chunk by chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {
        "images": (scenes, 168, 168, 3),
        "objects": (scenes, 4, 2),
        "patches": (scenes, 144, 2),
    }
    start = ready(folder)
    arrays = []
    for name, shape in shapes.items():
        path = folder / f"{name}.npy"
        mode = "r+" if start else "w+"
        arrays.append(np.lib.format.open_memmap(path, mode, dtype=np.uint8, shape=shape))
    for chunk in range(start, scenes, _CHUNK):
        drawn = draw_scenes(first_seed + chunk, min(_CHUNK, scenes - chunk))
        for array, rows in zip(arrays, drawn, strict=True):
            array[chunk : chunk + len(rows)] = rows
            array.flush()
        partial = folder / "ready.part"
        partial.write_text(str(chunk + len(drawn.images)))
        os.replace(partial, folder / "ready")


def ready(folder: Path) -> int:
    """The number of scenes of the cache that are drawn."""
    path = folder / "ready"
    return int(path.read_text()) if path.exists() else 0


def open_cache(
    folder: Path, scenes: int, first_seed: int
) -> tuple[SceneCache, subprocess.Popen]:
    """Starts filling a cache in another process and opens it when its first chunk is there."""
    command = [sys.executable, __file__, str(folder)]
    command += ["--scenes", str(scenes), "--first-seed", str(first_seed)]
    process = subprocess.Popen(command)
    while ready(folder) == 0:
        wait(process)
    names = ("images", "objects", "patches")
    arrays = [
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names
    ]
    return SceneCache(*arrays), process


def wait(process: subprocess.Popen) -> None:
    """Waits a moment for the drawing process.

    Raises:
      RuntimeError: the process has failed, so that waiting longer is in vain.
    """
    if process.poll():
        raise RuntimeError(f"drawing scenes failed with exit code {process.returncode}")
    time.sleep(0.2)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Draws the training scenes of the demo.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    fill_cache(arguments.folder, arguments.scenes, arguments.first_seed)


if __name__ == "__main__":
    _main()
