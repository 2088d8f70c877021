import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from eagle_jax.errors import InputError
from eagle_jax.inputs.centre_crop import CentreCrop
from eagle_jax.inputs.patches import masked_patches, plan_image, with_partial_sums
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.tiles import Tiles

# (height, width): identity, one direction only, both, tiny, tall, wide, rounding to even.
SIZES = [
    (168, 168),
    (480, 640),
    (640, 480),
    (476, 640),
    (480, 644),
    (84, 112),
    (90, 112),
    (84, 100),
    (1, 1),
    (3, 5),
    (20, 17),
    (55, 57),
    (30, 400),
    (301, 29),
    (5, 900),
    (14, 42),
    (70, 98),
    (333, 500),
    (201, 93),
    (65, 129),
]
SHRUNK = {"size": {"shortest_edge": 3136, "longest_edge": 20000}}
SHRUNK_SIZES = [(168, 168), (480, 640), (300, 100), (84, 700), (1000, 61), (1300, 1300)]


def scene(height, width, seed=0):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (height, width, 3), np.uint8)
    # Blocks of 0 and 255 make the bicubic filter overshoot at both ends.
    image[: height // 2, : width // 2] = 255 * (np.arange(width // 2) // 3 % 2)[None, :, None]
    return image


def published(image, config):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    # As a PIL image: arrays of 1 or 3 rows are ambiguous to the processor.
    processor = Qwen2VLImageProcessorPil(**config)
    out = processor(images=[Image.fromarray(image)], return_tensors="np")
    return out["pixel_values"], tuple(out["image_grid_thw"][0])


def repeat_frame(patches, config):
    *rest, e = patches.shape
    frames = np.asarray(patches).reshape(*rest, 3, 1, e // 3)
    return np.repeat(frames, config.get("temporal_patch_size", 2), axis=-2).reshape(*rest, -1)


def check_against_published(size, config, masks=3):
    height, width = size
    image = scene(height, width)
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 4 // width
    labels = (rows[:, None] * 4 + columns).astype(np.int32)
    settings = read_settings(config)
    plan = plan_image(image, labels, settings)
    visible = np.random.default_rng(1).random((masks, 23)) < 0.5
    visible[0] = True
    patches = repeat_frame(jax.jit(masked_patches)(plan, jnp.asarray(visible)), config)
    for mask, ours in zip(visible, patches, strict=True):
        expected, grid = published(image * mask[labels][:, :, None], config)
        assert grid == (1, *plan.grid)
        assert expected.dtype == np.float32
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_equal_the_published_processor(size):
    check_against_published(size, {"min_pixels": 3136, "max_pixels": 12845056})


@pytest.mark.parametrize("size", SHRUNK_SIZES, ids=str)
def test_shrinking_to_a_pixel_budget_is_exact(size):
    check_against_published(size, SHRUNK)


def test_other_patch_sizes_and_normalisation_are_exact():
    config = {
        "size": {"shortest_edge": 4096, "longest_edge": 30000},
        "patch_size": 16,
        "temporal_patch_size": 3,
        "merge_size": 3,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.25, 0.3],
    }
    check_against_published((150, 211), config)


GOT = {"image_processor_type": "GotOcr2ImageProcessorFast"}
MEAN = np.array([[[90, 7, 200]]], np.uint8)


@pytest.mark.parametrize(
    ("config", "size", "fill"),
    [
        (SHRUNK, (900, 1300), np.zeros((1, 1, 3), np.uint8)),
        (SHRUNK, (700, 421), MEAN),
        ({"image_processor_type": "CLIPImageProcessor"}, (480, 1000), scene(480, 1000, 1)),
        (GOT | {"size": 112, "max_patches": 4}, (900, 500), MEAN),
    ],
    ids=["shrunk", "mean", "image", "tiles"],
)
def test_partial_sums_do_not_change_a_bit(config, size, fill):
    height, width = size
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 4 // width
    labels = (rows[:, None] * 4 + columns).astype(np.int32)
    # A sliver, on both sides of which is the same region.
    labels[::2, width // 3] += 1
    plan = plan_image(scene(height, width), labels, read_settings(config), fill)
    faster = with_partial_sums(plan)
    assert any(view.partial is not None for view in faster.views)
    visible = jnp.asarray(np.random.default_rng(1).random((5, 32)) < 0.5)
    program = jax.jit(masked_patches)
    np.testing.assert_array_equal(program(faster, visible), program(plan, visible))


def test_partial_sums_are_kept_only_where_they_pay():
    settings = read_settings(SHRUNK)
    noise = np.arange(700 * 900, dtype=np.int32).reshape(700, 900)
    calm = np.zeros((150, 200), np.int32)
    for image, labels in ((scene(700, 900), noise), (scene(150, 200), calm)):
        plan = with_partial_sums(plan_image(image, labels, settings))
        assert all(view.partial is None for view in plan.views)


def test_large_images_in_chunks_give_the_same(monkeypatch):
    monkeypatch.setattr("eagle_jax.inputs.patches._CHUNK_VALUES", 3 * 128 * 192 * 2)
    check_against_published((100, 150), {}, masks=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_sizes_are_exact(seed):
    generator = np.random.default_rng(seed)
    for _ in range(4):
        height, width = generator.integers(10, 700, 2).tolist()
        area = int(generator.integers(4000, 400_000))
        config = {"size": {"shortest_edge": 3136, "longest_edge": area}}
        check_against_published((height, width), config, masks=2)


def test_one_program_serves_a_bucket_of_sizes():
    settings = PixelBudget()
    count = 0

    @jax.jit
    def program(plan, visible):
        nonlocal count
        count += 1
        return masked_patches(plan, visible)

    visible = jnp.ones((2, 4), bool)
    for height, width in [(100, 150), (101, 151), (109, 144)]:
        plan = plan_image(scene(height, width), np.zeros((height, width), np.int32), settings)
        program(plan, visible)
    assert count == 1


def test_hub_settings_in_every_spelling():
    expected = PixelBudget(min_pixels=3136, max_pixels=12845056)
    bounds = {"min_pixels": 3136, "max_pixels": 12845056}
    edges = {"shortest_edge": 3136, "longest_edge": 12845056}
    assert read_settings({**bounds, "patch_size": 14}) == expected
    assert read_settings({"size": bounds}) == expected
    assert read_settings({"size": edges, "resample": 3}) == expected
    assert read_settings({"size": {"shortest_edge": 1}, **bounds}) == expected
    assert read_settings({}) == PixelBudget()


def test_processors_and_their_defaults():
    clip = read_settings({"image_processor_type": "CLIPImageProcessorFast"})
    assert clip == CentreCrop(merge_size=1, shortest_edge=224, side=224)
    tiles = read_settings({"image_processor_type": "GotOcr2ImageProcessor", **TILES})
    assert tiles == Tiles(side=448)
    other = read_settings({"image_processor_type": "GotOcr2ImageProcessor"}, 16, 4)
    assert (other.patch_size, other.merge_size) == (16, 4)
    qwen = read_settings({"image_processor_type": "Qwen2VLImageProcessorFast"})
    assert qwen == PixelBudget()


CLIP = {"image_processor_type": "CLIPImageProcessor"}
TILES = {"image_processor_type": "GotOcr2ImageProcessorFast", "size": 448}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"resample": 2}, "resample=2"),
        ({"do_resize": False}, "do_resize=False"),
        ({"do_normalize": False}, "do_normalize=False"),
        ({"image_processor_type": "PixtralImageProcessor"}, "Qwen2VLImageProcessor, CLIPImage"),
        ({"do_center_crop": True}, "do_center_crop=True"),
        ({"patch_size": 14.5}, "patch_size=14.5"),
        ({"max_pixels": -1}, "max_pixels=-1"),
        ({"size": 336}, "size=336"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": [0.5, 0.5, "x"]}, "image_std"),
        ({"image_std": 0}, "image_std"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({**CLIP, "do_center_crop": False}, "do_center_crop=False"),
        ({**CLIP, "size": {"height": 336, "width": 336}}, "size=.*shortest_edge"),
        ({**CLIP, "size": {"shortest_edge": 336, "longest_edge": 400}}, "size=.*shortest_edge"),
        ({**CLIP, "size": {"shortest_edge": "336"}}, "shortest_edge='336'"),
        ({**CLIP, "crop_size": {"height": 336, "width": 224}}, "crop_size=.*equal"),
        ({**CLIP, "size": 200}, "crop_size=224 exceeds shortest_edge=200"),
        ({**CLIP, "crop_size": 220}, "crop of 220 pixels .* 14"),
        ({**TILES, "do_resize": False}, "do_resize=False"),
        ({**TILES, "do_center_crop": True}, "do_center_crop=True"),
        ({**TILES, "size": {"height": 448, "width": 336}}, "size=.*equal"),
        ({**TILES, "size": {"shortest_edge": 448}}, "size=.*equal"),
        ({**TILES, "size": 462}, "tile of 462 pixels .* 28"),
        ({**TILES, "min_patches": 0}, "min_patches=0"),
        ({**TILES, "min_patches": 13}, "min_patches=13 exceeds max_patches=12"),
    ],
    ids=str,
)
def test_unsupported_settings_are_named(config, name):
    with pytest.raises(InputError, match=name):
        read_settings(config)


def test_extreme_shapes_are_refused():
    with pytest.raises(InputError, match="402 x 2 .*200 times"):
        plan_image(scene(2, 402), np.zeros((2, 402), np.int32), PixelBudget())
    plan_image(scene(2, 400), np.zeros((2, 400), np.int32), PixelBudget())
