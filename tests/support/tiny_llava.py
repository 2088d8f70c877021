"""Tiny random LLaVA checkpoints in Hugging Face layout."""

import copy
import re
from pathlib import Path

from tiny_folder import CLIP_PIXELS, CORPUS, VOCABULARY, draw_weights, save_json, save_weights
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
# The published template: pictures first, each text with a blank behind it.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }} "
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
IMAGE_TOKEN = 300
SIDE = 56
# How the tensors may be named: as on the hub, the same without the level that transformers 5
# dropped, by transformers 5's own save_pretrained, and as it names them in memory.
LAYOUTS = ("hub", "flat", "saved", "memory", "deep memory")


def make_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Writes a tokenizer that treats blanks, line ends and the start token as Llama's does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    words = [word for text in CORPUS for word in text.split()]
    tokenizer.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=250,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=[chr(code) for code in range(33, 127)] + ["▁", "\n"],
            show_progress=False,
        ),
    )
    # Fillers, so that the placeholder's id is the same whatever the corpus.
    tokenizer.add_tokens([f"<filler{i}>" for i in range(tokenizer.get_vocab_size(), 300)])
    tokenizer.add_special_tokens(["<image>", "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)
    return fast


def make_llava(
    folder: str | Path,
    seed: int = 0,
    *,
    layout: str = "hub",
    tied: bool = False,
    feature_layer: int = -2,
    vision_act: str = "quick_gelu",
    patch: int = 14,
) -> Path:
    """Writes a tiny random LLaVA checkpoint.

    Args:
        folder: Where to write; created when missing.
        seed: Seed of the weights; equal seeds give equal weights in every layout.
        layout: One of `LAYOUTS`; "hub" has a config.json with few fields, as published.
        tied: Whether the output head is the embedding matrix.
        feature_layer: The hidden state of the vision tower that is read.
        vision_act: Activation of the vision tower.
        patch: Side of a patch in pixels, which the processor's file does not say.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    assert make_tokenizer(folder).convert_tokens_to_ids("<image>") == IMAGE_TOKEN
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "torch_dtype": "float32",
        "image_token_index": IMAGE_TOKEN,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": feature_layer,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": tied,
        "text_config": {
            "model_type": "llama",
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": tied,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "image_size": SIDE,
            "patch_size": patch,
            "hidden_act": vision_act,
        },
    }
    model = LlavaForConditionalGeneration(LlavaConfig(**copy.deepcopy(config)))
    draw_weights(model, seed)
    if layout == "saved":
        model.save_pretrained(folder)
    else:
        save_json(folder / "config.json", config)
        save_weights(folder, model, lambda name: _on_disk(name, layout))
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        **CLIP_PIXELS,
    }
    save_json(folder / "preprocessor_config.json", preprocessor)
    save_json(folder / "generation_config.json", {"eos_token_id": 2})
    return folder


def _on_disk(name: str, layout: str) -> str:
    if layout in ("hub", "deep memory"):
        name = name.replace(".vision_tower.", ".vision_tower.vision_model.")
    if layout in ("hub", "flat"):
        name = name.replace("model.language_model.", "language_model.model.")
        name = re.sub("^lm_head", "language_model.lm_head", name)
        name = name.removeprefix("model.")
    return name
