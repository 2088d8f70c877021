"""Tiny random checkpoints of families that nobody ported, and the PyTorch side of tests."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tiny_folder import CLIP_PIXELS, VOCABULARY, draw_weights, save_tokenizer

SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 4,
    "image_size": 16,
}
TEXT = {
    "vocab_size": VOCABULARY + 8,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}MARK{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = ("<|im_start|>", "<|im_end|>")


def make_gemma3(folder: Path, seed: int = 0) -> Path:
    """Sliding and full attention, image tokens that see each other, softcaps."""
    marks = ("<start_of_image>", "<image_soft_token>", "<end_of_image>")
    ids = save_tokenizer(
        folder,
        (*TURNS, *marks),
        TEMPLATE.replace("MARK", marks[0]),
        extra_special_tokens=dict(
            zip(("boi_token", "image_token", "eoi_token"), marks, strict=True)
        ),
    )
    config = transformers.Gemma3Config(
        text_config=TEXT
        | {
            "head_dim": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
        },
        vision_config=dict(SIGLIP),
        mm_tokens_per_image=4,
        image_token_index=ids[marks[1]],
        boi_token_index=ids[marks[0]],
        eoi_token_index=ids[marks[2]],
    )
    pixels = {"image_processor_type": "Gemma3ImageProcessor", "size": _square(16)}
    return _save(folder, config, seed, pixels, "Gemma3Processor", {"image_seq_length": 4})


def make_llava_onevision(folder: Path, seed: int = 0) -> Path:
    """Tiles of any resolution, with the padding cut away and learned line ends."""
    ids = save_tokenizer(
        folder,
        (*TURNS, "<image>", "<video>"),
        TEMPLATE.replace("MARK", "<image>\n"),
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )
    grids = [[16, 32], [32, 16], [32, 32]]
    config = transformers.LlavaOnevisionConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config=SIGLIP | {"model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=grids,
    )
    pixels = {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "size": _square(16),
        "image_grid_pinpoints": grids,
        **CLIP_PIXELS,
    }
    options = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    return _save(folder, config, seed, pixels, "LlavaOnevisionProcessor", options)


def make_smolvlm(folder: Path, seed: int = 0) -> Path:
    """Tiles with marks around each, of which empty ones are left out."""
    marks = ("<image>", "<fake_token_around_image>", "<global-img>")
    ids = save_tokenizer(
        folder,
        (*TURNS, *marks, "<row_1_col_1>", "<row_1_col_2>"),
        TEMPLATE.replace("MARK", "<image>"),
        extra_special_tokens={
            "image_token": marks[0],
            "fake_image_token": marks[1],
            "global_image_token": marks[2],
        },
    )
    config = transformers.SmolVLMConfig(
        text_config=TEXT | {"model_type": "llama"},
        vision_config=dict(SIGLIP),
        scale_factor=2,
        image_token_id=ids["<image>"],
    )
    pixels = {
        "image_processor_type": "SmolVLMImageProcessor",
        "size": {"longest_edge": 32},
        "max_image_size": {"longest_edge": 16},
        "do_image_splitting": True,
    }
    return _save(folder, config, seed, pixels, "SmolVLMProcessor", {"image_seq_len": 4})


MAKERS = {
    "gemma3": make_gemma3,
    "llava_onevision": make_llava_onevision,
    "smolvlm": make_smolvlm,
}


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _save(
    folder: Path,
    config: Any,
    seed: int,
    pixels: dict[str, Any],
    processor: str,
    options: dict[str, Any],
) -> Path:
    config.tie_word_embeddings = False
    torch.manual_seed(seed)
    model = transformers.AutoModelForImageTextToText.from_config(config)
    draw_weights(model, seed)
    model.save_pretrained(folder)
    pixels = pixels | {"processor_class": processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    settings = options | {"processor_class": processor}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder


class Reference:
    """A checkpoint in transformers' own class; its processor is the one of the bridge."""

    def __init__(self, folder: Path, processor: Any):
        self.model = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self.processor = processor

    def score(self, case: Any, visible: np.ndarray, text: str) -> np.ndarray:
        """Probabilities of a case's targets for one set, by PyTorch alone, (t,)."""
        probabilities = self._probabilities(case, visible, text)
        return probabilities[case.positions, case.token_ids]

    def most_likely(self, case: Any, visible: np.ndarray, text: str) -> np.ndarray:
        """The most likely token at each position of the answer, (a,)."""
        return self._probabilities(case, visible, text).argmax(-1)

    @torch.no_grad()
    def _probabilities(self, case: Any, visible: np.ndarray, text: str) -> np.ndarray:
        """Those of all tokens at each position of the answer, (a, vocabulary)."""
        image = case.image * np.asarray(visible, np.uint8)[case.labels][..., None]
        out = self.processor._processor(
            text=[text], images=[Image.fromarray(image)], return_tensors="pt"
        )
        answer = torch.as_tensor(np.asarray(case.answer_ids), dtype=torch.long)[None]
        # Nothing but ids and masks is of the text; a text token has type 0.
        known = inspect.signature(self.model.forward).parameters
        inputs = {name: value for name, value in out.items() if name in known}
        fills = {"attention_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0}
        for name, fill in fills.items():
            if name in inputs:
                rest = torch.full_like(answer, fill).to(inputs[name].dtype)
                inputs[name] = torch.cat([inputs[name], rest], 1)
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
        logits = self.model(**inputs, use_cache=False).logits[0, length - 1 : -1]
        return torch.softmax(logits.float(), -1).numpy()
