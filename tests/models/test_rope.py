import itertools

import numpy as np
import pytest

from eagle_jax.errors import InputError
from eagle_jax.models.layers.rope import multimodal_positions


def test_positions_example():
    ids = np.array([1, 1, 1, 1, 9, 9, 9, 9, 9, 9, 1, 1], np.int32)
    np.testing.assert_array_equal(
        multimodal_positions(ids, 2, 3, 9),
        [
            [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 7, 8],
            [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 7, 8],
            [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8],
        ],
    )


def test_positions_equal_transformers():
    torch = pytest.importorskip("torch")
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "intermediate_size": 8,
            "vocab_size": 16,
        },
        vision_config={"hidden_size": 8, "depth": 1, "num_heads": 1, "intermediate_size": 8},
    )
    with torch.device("meta"):
        model = Qwen2_5_VLModel(config)
    grids = [(1, 1), (4, 4), (2, 7), (9, 3), (17, 23)]
    for (h, w), before, behind in itertools.product(grids, (0, 1, 15), (0, 1, 33)):
        ids = np.array([1] * before + [9] * h * w + [1] * behind, np.int32)
        expected, _ = model.get_rope_index(
            torch.from_numpy(ids)[None].long(),
            mm_token_type_ids=torch.from_numpy(ids == 9).int()[None],
            image_grid_thw=torch.tensor([[1, 2 * h, 2 * w]]),
        )
        np.testing.assert_array_equal(multimodal_positions(ids, h, w, 9), expected[:, 0])


@pytest.mark.parametrize("ids", [[1, 9, 9, 9, 1], [9, 9, 1, 9, 9], [9, 9, 9, 9, 1, 9], [1, 1]])
def test_positions_refuse_another_number_of_image_tokens(ids):
    with pytest.raises(InputError, match="must have 2 x 2 consecutive"):
        multimodal_positions(np.array(ids, np.int32), 2, 2, 9)
