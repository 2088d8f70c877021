"""How a checkpoint wants its answers generated, heeded as by transformers' `generate`."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagle_jax.errors import InputError, shown_value
from eagle_jax.models.checkpoints.tensor_files import read_json
from eagle_jax.models.layers.logit_rules import Biases, LogitRules

GENERATION = "generation_config.json"
_NAMES = (
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "sequence_bias",
    "bad_words_ids",
    "min_length",
    "min_new_tokens",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
)
# Fields that would change a greedy answer, and the values that do not.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "guidance_scale": (1,),
    "watermarking_config": (),
    "constraints": ([],),
    "force_words_ids": ([],),
    "stop_strings": ([], ""),
    "max_time": (),
    "token_healing": (False,),
}


@dataclasses.dataclass(frozen=True)
class GenerationSettings:
    """Fields of generation_config.json that change a greedy answer.

    Attributes:
      where: name of the file in messages.
      fields: names and values of the fields that are set, as they stand in the file.
      end_of_tokenizer: True if no file says which token ends an answer; transformers would then
        go on to the limit.
    """

    where: str = GENERATION
    fields: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), hash=False)
    end_of_tokenizer: bool = False

    def rules(
        self, end_ids: Sequence[int], prompt_tokens: int, vocabulary: int
    ) -> LogitRules | None:
        """The rules for the next token of an answer.

        Args:
          end_ids: ids of the tokens that end an answer.
          prompt_tokens: number of tokens of the prompt.
          vocabulary: number of tokens that the model can say.

        Returns:
          The rules; None where the most likely token is always taken.

        Raises:
          InputError: a field has a value that cannot be used, or is not supported.
        """
        if self.end_of_tokenizer:
            warnings.warn(
                f"{self.where} says no eos_token_id: answers end with the tokenizer's "
                "eos_token, where transformers would go on to the limit",
                stacklevel=2,
            )
        fields = dict(self.fields)
        self._require_supported(fields)
        reader = _Reader(self.where, fields, vocabulary)
        minimum = reader.number("min_new_tokens", whole=True)
        if minimum is None:
            minimum = (reader.number("min_length", whole=True) or 0) - prompt_tokens
        decay = reader.decay()
        penalty, prompt_penalty = reader.penalty(), reader.penalty("encoder_")
        rules = LogitRules(
            biases=reader.biases("sequence_bias", (), reader.bias_entries),
            prompt_penalty=None if prompt_penalty is None else np.array(1 / prompt_penalty),
            penalty=penalty,
            ngram=reader.number("no_repeat_ngram_size", whole=True) or 0,
            prompt_ngram=reader.number("encoder_no_repeat_ngram_size", whole=True) or 0,
            bad_words=reader.biases("bad_words_ids", end_ids, reader.bad_word_entries),
            ending=np.array(end_ids, np.int32) if minimum > 0 or decay is not None else None,
            min_new_tokens=np.array(minimum, np.int32) if minimum > 0 else None,
            forced_end=reader.tokens("forced_eos_token_id"),
            finite=fields.get("remove_invalid_values") is True,
            decay=decay,
            suppressed=reader.tokens("suppress_tokens"),
            suppressed_first=reader.tokens("begin_suppress_tokens"),
        )
        # 0 and False stand for no rule, as None does.
        unset = (
            value is None or (isinstance(value, int) and not value)
            for value in vars(rules).values()
        )
        return None if all(unset) else rules

    def _require_supported(self, fields: dict[str, Any]) -> None:
        for name, harmless in _UNSUPPORTED.items():
            if name in fields and fields[name] not in harmless:
                raise InputError(
                    f"{self.where} sets {name}, which greedy answers of eagle-jax do not heed; "
                    "remove the field there, or give the answer"
                )


def read_generation(
    folder: Path, config: dict[str, Any], tokenizer: Any
) -> tuple[GenerationSettings, tuple[int, ...]]:
    """Reads how answers are generated, and which tokens end them.

    As in transformers, the fields of config.json and of its text_config count only where there
    is no generation_config.json.

    Args:
      folder: the checkpoint folder.
      config: the parsed config.json.
      tokenizer: the tokenizer of the checkpoint.

    Raises:
      InputError: the file is damaged, or says what is no token for the end of an answer.
    """
    path = folder / GENERATION
    if path.exists():
        fields = read_json(path)
    else:
        path = folder / "config.json"
        text = config.get("text_config")
        text = text if isinstance(text, dict) else {}
        fields = text | {name: value for name, value in config.items() if value is not None}
    ids = fields.get("eos_token_id")
    unsaid = ids is None
    if unsaid:
        ids = config.get("eos_token_id")
        ids = tokenizer.eos_token_id if ids is None else ids
    ids = ids if isinstance(ids, list) else [ids]
    if not ids or not all(type(token_id) is int and token_id >= 0 for token_id in ids):
        raise InputError(
            f"{folder}: eos_token_id is {shown_value(ids)}; it must hold token ids"
        )
    held = [(n, fields[n]) for n in (*_NAMES, *_UNSUPPORTED) if fields.get(n) is not None]
    return GenerationSettings(str(path), tuple(held), unsaid), tuple(ids)


class _Reader:
    """Values of fields, checked."""

    def __init__(self, where: str, fields: dict[str, Any], vocabulary: int):
        self.where, self.fields, self.vocabulary = where, fields, vocabulary

    def _refuse(self, name: str, wanted: str) -> InputError:
        value = repr(self.fields[name])
        value = value if len(value) <= 40 else value[:39] + "\u2026"
        return InputError(f"{self.where}: {name} is {value}; it must be {wanted}")

    def number(self, name: str, *, whole: bool = False) -> Any:
        value = self.fields.get(name)
        if value is None:
            return None
        kinds = (int,) if whole else (int, float)
        if type(value) not in kinds or not math.isfinite(value) or value < 0:
            raise self._refuse(name, "a whole number of at least 0" if whole else "a number")
        return value

    def penalty(self, side: str = "") -> np.ndarray | None:
        name = f"{side}repetition_penalty"
        value = self.number(name)
        if value == 0:
            raise self._refuse(name, "a number above 0")
        return None if value is None or value == 1 else np.array(value, np.float32)

    def decay(self) -> np.ndarray | None:
        name = "exponential_decay_length_penalty"
        value = self.fields.get(name)
        if value is None:
            return None
        numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
        if not numbers or len(value) != 2:
            raise self._refuse(name, "a number of tokens and a factor")
        return np.array(value, np.float32)

    def tokens(self, name: str) -> np.ndarray | None:
        value = self.fields.get(name)
        if value is None:
            return None
        value = value if isinstance(value, list) else [value]
        if not all(type(token) is int for token in value):
            raise self._refuse(name, "token ids")
        # Ids that are no token forbid nothing, in transformers either.
        value = [token for token in value if 0 <= token < self.vocabulary]
        return np.array(value, np.int32) if value else None

    def biases(
        self, name: str, end_ids: Sequence[int], entries: Callable[[str], dict]
    ) -> Biases | None:
        if self.fields.get(name) is None:
            return None
        found = {row: bias for row, bias in entries(name).items() if row not in _alone(end_ids)}
        for row in found:
            if not row or not all(
                type(token) is int and 0 <= token < self.vocabulary for token in row
            ):
                raise self._refuse(name, "lists of token ids")
        if not found:
            return None
        longest = max(map(len, found)) - 1
        before = [(-1,) * (longest + 1 - len(row)) + row[:-1] for row in found]
        return Biases(
            np.array(before, np.int32).reshape(len(found), longest),
            np.array([row[-1] for row in found], np.int32),
            np.array([*found.values()], np.float32),
        )

    def bad_word_entries(self, name: str) -> dict[tuple[int, ...], float]:
        value = self.fields[name]
        if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
            raise self._refuse(name, "lists of token ids")
        return {tuple(row): -math.inf for row in value}

    def bias_entries(self, name: str) -> dict[tuple[int, ...], float]:
        value = self.fields[name]
        try:
            found = {tuple(row): float(bias) for row, bias in value}
        except (TypeError, ValueError):
            raise self._refuse(name, "pairs of token ids and a number") from None
        return found


def _alone(token_ids: Sequence[int]) -> set[tuple[int, ...]]:
    return {(token,) for token in token_ids}
