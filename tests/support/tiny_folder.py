"""What the makers of tiny checkpoints share: a tokenizer, random weights, the files.

The weights are far larger than an initialiser would draw, so that attention is peaked and
the pixels move the answer: with small weights a wrong window, rotation or mask hides below
every tolerance.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = (
    "You are a helpful assistant.",
    "system user assistant",
    "Describe the image in one factual English sentence.",
    "Is there a cat in the image? Answer Yes or No.",
    "What colour is the car? A red car stands beside a large blue house.",
    "There is a small green tree near the yellow boat on the water.",
)
VOCABULARY = 320
# What OpenAI's CLIP was trained with.
CLIP_PIXELS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def save_tokenizer(
    folder: Path, specials: Sequence[str], template: str, **options
) -> dict[str, int]:
    """Writes a byte-level BPE tokenizer that ends turns with <|im_end|>.

    Args:
        folder: Where to write.
        specials: Special tokens, added behind all others.
        template: The chat template.
        options: More for `PreTrainedTokenizerFast`.

    Returns:
        The id of each token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(specials),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=template,
        **options,
    )
    fast.add_special_tokens({"additional_special_tokens": list(specials)})
    fast.save_pretrained(folder)
    return fast.get_vocab()


def draw_weights(model: torch.nn.Module, seed: int) -> None:
    """Fills a model with random weights: norms near 1, products that keep their scale."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape):
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("bias"):
                parameter.copy_(0.3 * normal(parameter.shape))
            elif parameter.ndim == 1:
                parameter.copy_(1.0 + 0.2 * normal(parameter.shape))
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(0.28 * normal(parameter.shape))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(1.05 / fan_in**0.5 * normal(parameter.shape))
        model.tie_weights()


def save_weights(
    folder: Path, model: torch.nn.Module, rename: Callable[[str], str], shards: int = 1
) -> None:
    """Writes a model's tensors under other names, in several files with an index or in one."""
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tensors = {
        rename(name): tensor.detach().clone().contiguous()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    where = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    save_json(folder / "model.safetensors.index.json", index)


def save_json(path: Path, content: dict) -> None:
    """Writes one of the folder's small files."""
    path.write_text(json.dumps(content, indent=2))
