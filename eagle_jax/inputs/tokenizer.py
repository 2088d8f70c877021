"""What a tokenizer given by a user must be."""

from typing import Any

from eagle_jax.errors import InputError

Tokenizer = Any  # transformers' PreTrainedTokenizerFast, imported when one is loaded
_END = 2**31


def require_tokenizer(tokenizer: Tokenizer, **numbers: int) -> None:
    """Raises unless a value can be a tokenizer, and numbers can be ids or counts of tokens.

    Args:
      tokenizer: any value.
      **numbers: numbers by the name of their argument.

    Raises:
      InputError: the value cannot decode token ids, or a number is out of range.
    """
    if isinstance(tokenizer, bytes) or not hasattr(tokenizer, "decode"):
        name = type(tokenizer).__name__
        raise InputError(f"tokenizer is of type {name}; it must be a tokenizer of transformers")
    for name, number in numbers.items():
        if not 0 <= number < _END:
            raise InputError(f"{name} is {number}; it must be from 0 to {_END - 1}")
