import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from eagle_jax.inputs.patches import masked_patches, plan_image
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.reach import blocks_reached
from eagle_jax.inputs.tiles import Tiles

# As published with llava-hf/llava-1.5-7b-hf and OpenGVLab/InternVL3_5-4B-HF.
LLAVA = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 336},
    "crop_size": {"height": 336, "width": 336},
    "do_center_crop": True,
    "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "rescale_factor": 0.00392156862745098,
}
INTERNVL = {
    "image_processor_type": "GotOcr2ImageProcessorFast",
    "size": {"height": 448, "width": 448},
    "crop_to_patches": False,
    "min_patches": 1,
    "max_patches": 12,
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 0.00392156862745098,
}
GEMMA = {
    "image_processor_type": "Gemma3ImageProcessor",
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
# (height, width): identity, cropped only, grown, shrunk, odd offsets, long edges whose length
# is truncated, slivers.
CROP_SIZES = [
    (336, 336),
    (336, 481),
    (500, 336),
    (480, 640),
    (640, 480),
    (427, 640),
    (333, 500),
    (335, 336),
    (337, 336),
    (338, 337),
    (224, 224),
    (200, 201),
    (101, 67),
    (100, 300),
    (1, 1),
    (3, 5),
    (2, 400),
    (901, 7),
    (1000, 751),
    (29, 31),
]
# The same for tiles, with the rows, columns and thumbnails they give: one tile, an identity,
# grids that tie and are decided by the area, the largest grids in every direction.
TILE_SIZES = {
    (448, 448): (1, 1),
    (448, 896): (1, 2),
    (896, 448): (2, 1),
    (480, 640): (3, 4),
    (640, 427): (3, 2),
    (224, 224): (1, 1),
    (640, 640): (2, 2),
    (633, 633): (1, 1),
    (634, 634): (2, 2),
    (1000, 1000): (3, 3),
    (100, 200): (1, 2),
    (700, 1400): (2, 4),
    (300, 200): (3, 2),
    (60, 720): (1, 12),
    (721, 60): (12, 1),
    (33, 31): (1, 1),
    (1, 1): (1, 1),
    (5, 7): (3, 4),
    (411, 549): (3, 4),
    (333, 500): (2, 3),
}


def scene(height, width):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    # Blocks of 0 and 255 make the bicubic filter overshoot at both ends.
    image[: height // 2, : width // 2] = 255 * (np.arange(width // 2) // 3 % 2)[None, :, None]
    return image


def published(image, config):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        GotOcr2ImageProcessorPil,
    )

    settings = {key: value for key, value in config.items() if key != "image_processor_type"}
    if config["image_processor_type"] == "CLIPImageProcessor":
        processor = CLIPImageProcessorPil(**settings)
    elif config["image_processor_type"] == "Gemma3ImageProcessor":
        processor = Gemma3ImageProcessorPil(**settings)
    else:
        # InternVL's processor asks for tiles, whatever the file says.
        processor = GotOcr2ImageProcessorPil(**{**settings, "crop_to_patches": True})
    # As a PIL image: arrays of 1 or 3 rows are ambiguous to the processor.
    return processor(images=[Image.fromarray(image)], return_tensors="np")["pixel_values"]


def cut(pixels, patch=14):
    """(tiles, 3, side, side) -> (p, 3 * patch**2), tile after tile, row by row."""
    tiles, channels, height, width = pixels.shape
    pixels = pixels.reshape(tiles, channels, height // patch, patch, width // patch, patch)
    return pixels.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels * patch**2)


def check_against_published(size, config, masks=1):
    height, width = size
    image = scene(height, width)
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 4 // width
    labels = (rows[:, None] * 4 + columns).astype(np.int32)
    settings = read_settings(config)
    plan = plan_image(image, labels, settings)
    visible = np.random.default_rng(1).random((masks, 23)) < 0.5
    visible[1:2] = True
    patches = np.asarray(jax.jit(masked_patches)(plan, jnp.asarray(visible)))
    for mask, ours in zip(visible, patches, strict=True):
        pixels = published(image * mask[labels][:, :, None], config)
        assert pixels.dtype == ours.dtype == np.float32
        expected = cut(pixels, settings.patch_size)
        assert plan.grid[0] * plan.grid[1] == len(expected)
        assert np.array_equal(ours, expected)
    return plan


@pytest.mark.parametrize("size", CROP_SIZES, ids=str)
def test_crops_equal_the_published_processor(size):
    plan = check_against_published(size, LLAVA)
    assert plan.grid == (24, 24)
    assert plan.merge_size == 1


@pytest.mark.parametrize("resample", [2, 3])
def test_squares_equal_the_published_processor(resample):
    for size in [(224, 224), (480, 640), (224, 31), (1, 1), (901, 300)]:
        plan = check_against_published(size, {**GEMMA, "resample": resample})
        assert plan.grid == (16, 16)


@pytest.mark.parametrize("size", TILE_SIZES, ids=str)
def test_tiles_equal_the_published_processor(size):
    plan = check_against_published(size, INTERNVL)
    tiles = np.prod(TILE_SIZES[size])
    assert plan.views[0].blocks == TILE_SIZES[size]
    assert plan.grid == (32 * (tiles + 1 if tiles > 1 else 1), 32)
    assert plan.merge_size == 2


def test_crop_smaller_than_the_shorter_edge_with_odd_offsets():
    config = {**LLAVA, "size": 101, "crop_size": 56}
    for size in [(130, 77), (101, 150), (102, 300)]:
        check_against_published(size, config)


def test_other_tile_sizes_and_bounds():
    config = {**INTERNVL, "size": {"height": 64, "width": 64}, "patch_size": 16}
    settings = {"min_patches": 3, "max_patches": 5}
    # One of the sides stays for the tiles, but not for the thumbnail, and the reverse.
    for size in [(64, 192), (100, 320), (128, 70), (64, 65)]:
        check_against_published(size, {**config, **settings})
    check_against_published((100, 320), {**config, "max_patches": 1})
    odd = {**config, "size": {"height": 56, "width": 56}, "patch_size": 14}
    for size in [(56, 112), (100, 112), (112, 90), (56, 57)]:
        check_against_published(size, odd)


@pytest.mark.parametrize("bounds", [(1, 12), (1, 6), (2, 4), (5, 9), (7, 7)])
def test_tile_grids_equal_the_published_choice(bounds):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        get_optimal_tiled_canvas,
    )

    settings = Tiles(min_tiles=bounds[0], max_tiles=bounds[1])
    sizes = np.random.default_rng(0).integers(1, 3000, (300, 2)).tolist()
    sizes += [
        (side * rows, side * columns)
        for side in (60, 317, 700)
        for rows in (1, 2, 3)
        for columns in (1, 2, 4, 5)
    ]
    for height, width in sizes:
        columns, rows = get_optimal_tiled_canvas((height, width), (448, 448), *bounds)
        assert settings.frames(height, width)[0].blocks == (rows, columns)


def test_many_tiles_in_chunks_give_the_same(monkeypatch):
    config = {**INTERNVL, "size": {"height": 56, "width": 56}}
    monkeypatch.setattr("eagle_jax.inputs.patches._CHUNK_VALUES", 3 * 12 * 56 * 56 * 2)
    plan = check_against_published((48, 64), config, masks=5)
    assert plan.views[0].blocks == (3, 4)


def count_programs(config, sizes):
    count = 0

    @jax.jit
    def program(plan, visible):
        nonlocal count
        count += 1
        return masked_patches(plan, visible)

    for height, width in sizes:
        labels = np.zeros((height, width), np.int32)
        plan = plan_image(scene(height, width), labels, read_settings(config))
        program(plan, jnp.ones((2, 4), bool))
    return count


def test_one_program_serves_a_bucket_of_sizes():
    sizes = [(100, 150), (101, 151), (107, 160)]
    assert count_programs(LLAVA, sizes) == 1
    assert count_programs({**INTERNVL, "size": 56}, sizes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("config", [LLAVA, INTERNVL], ids=["llava", "internvl"])
def test_random_sizes_are_exact(config):
    generator = np.random.default_rng(3)
    for _ in range(6):
        check_against_published(tuple(generator.integers(10, 1200, 2).tolist()), config)


def test_a_region_reaches_tiles_through_the_filter():
    """Tiles of 56 pixels from 32; white, so that what is hidden shows as far as it can."""
    settings = Tiles(side=56, patch_size=14)
    labels = np.full((96, 128), 12, np.int32)
    # A cell of each tile without its edge, one of which comes up to the edge.
    for tile in range(12):
        down, across = divmod(tile, 4)
        labels[32 * down + 4 : 32 * down + 28, 32 * across + 4 : 32 * across + 28] = tile
    labels[36:60, 64:68] = 6
    plan = jax.device_put(plan_image(np.full((96, 128, 3), 255, np.uint8), labels, settings))
    reached = np.asarray(blocks_reached(plan, 16))
    expected = np.concatenate([np.eye(12, dtype=bool), np.ones((1, 12), bool)])
    expected[5, 6] = True
    np.testing.assert_array_equal(reached[:, :12], expected)
    assert reached[:, 12].all() and not reached[:, 13:].any()
    sets = np.concatenate([np.ones((1, 13), bool), ~np.eye(13, dtype=bool)])
    patches = np.asarray(masked_patches(plan, jnp.asarray(sets))).reshape(14, 13, -1)
    differ = np.any(patches[1:] != patches[0], axis=2).T
    assert not np.any(differ & ~reached[:, :13]) and differ[5, 6]
