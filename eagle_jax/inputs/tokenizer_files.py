"""A checkpoint's tokenizer, read from its files by transformers."""

import contextlib
import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, reason

_FAST = ("tokenizer.json", "vocab.json")
_SENTENCEPIECE = "tokenizer.model"


def read_tokenizer(folder: Path) -> Any:
    """Reads the tokenizer of a Hugging Face folder, from local files only.

    Args:
      folder: the checkpoint folder.

    Raises:
      InputError: the folder has no tokenizer, or it cannot be read.
    """
    names = (*_FAST, _SENTENCEPIECE)
    if not any((folder / name).is_file() for name in names):
        raise InputError(f"{folder} has no tokenizer; it needs one of {', '.join(names)}")
    alone = not any((folder / name).is_file() for name in _FAST)
    if alone and importlib.util.find_spec("sentencepiece") is None:
        raise InputError(
            f"{folder} has its tokenizer as tokenizer.model alone, which needs sentencepiece: "
            "pip install sentencepiece, or add the checkpoint's tokenizer.json"
        )
    try:
        with _quiet("transformers"):
            return _from_transformers(folder)
    except Exception as error:  # tokenizers raises bare Exception on a damaged file
        if alone and "tiktoken" in str(error):
            # transformers takes a file that it cannot parse for one of tiktoken.
            raise InputError(
                f"{folder / _SENTENCEPIECE} is damaged or no sentencepiece model; fetch it "
                "again, or add the checkpoint's tokenizer.json"
            ) from error
        # transformers reads config.json as well.
        of_config = type(error).__name__.startswith("StrictDataclass")
        what = "config.json" if of_config else "the tokenizer"
        raise InputError(
            f"{what} in {folder} cannot be read: {reason(error, 120)}; fetch the checkpoint "
            "again"
        ) from error


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a library from remarks about files that it reads."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _from_transformers(folder: Path) -> Any:
    from transformers import AutoConfig, AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except AttributeError:
        # Where torch is installed, transformers cannot read a config.json with a type such as
        # "torch.float32". For a tokenizer it needs no more than the family.
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        bare = AutoConfig.for_model(config["model_type"])
        return AutoTokenizer.from_pretrained(folder, config=bare, local_files_only=True)
