"""Greedy answers heed generation_config.json as transformers' generate does."""

import dataclasses
import json
import shutil
import warnings

import families
import numpy as np
import pytest
import transformers

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.models.layers.logit_rules import LogitRules
from eagle_jax.scoring.answers import regenerate
from eagle_jax.scoring.generation import GenerationSettings, read_generation

TOKENS = 32


class Side:
    """A checkpoint, how it answers without settings, and with those of a file."""

    def __init__(self, case, image, folder):
        self.folder = shutil.copytree(case.folder, folder)
        self.path = folder / "generation_config.json"
        self.config = json.loads((folder / "config.json").read_text())
        # An end that the model never says, so that answers are long.
        self.plain = json.loads(self.path.read_text()) | {"eos_token_id": 1}
        self.model, self.reference = eagle_jax.load(folder), case.reference
        self.image = image
        asked = eagle_jax.ask(self.model, image, families.PROMPT, answer="Yes", regions=2)
        self.prompt_ids = asked.prompt_ids

    def ours(self, **fields):
        self.path.write_text(json.dumps(self.plain | fields))
        generation, end_ids = read_generation(self.folder, self.config, self.model.tokenizer)
        model = dataclasses.replace(self.model, generation=generation, end_ids=end_ids)
        answer = eagle_jax.generate(model, self.image, families.PROMPT, max_new_tokens=TOKENS)
        return answer.tolist()

    def theirs(self):
        config = transformers.GenerationConfig.from_pretrained(self.folder)
        self.reference.model.generation_config = config
        return self.reference.generate(self.prompt_ids, self.image, TOKENS).tolist()


@pytest.fixture(scope="module", params=["qwen2.5-vl", "llava"])
def side(request, cases, make_image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation") / "model"
    return Side(cases(request.param), make_image(3, 112, 112), folder)


# Fields of generation_config.json; "a" stands for the tokens of the plain answer.
FIELDS = {
    "penalty": lambda a: {"repetition_penalty": 1.5},
    "reward": lambda a: {"repetition_penalty": 0.8},
    "prompt's penalty": lambda a: {"encoder_repetition_penalty": 4.0},
    "single tokens": lambda a: {"no_repeat_ngram_size": 1},
    "rows": lambda a: {"no_repeat_ngram_size": 2, "encoder_no_repeat_ngram_size": 3},
    "suppressed": lambda a: {"suppress_tokens": [a[0], a[3], -1]},
    "suppressed first": lambda a: {"begin_suppress_tokens": a[:2]},
    "bad words": lambda a: {"bad_words_ids": [[a[0]], a[1:4], a[4:6]]},
    "biases": lambda a: {"sequence_bias": [[[a[2]], -5.0], [a[4:6], 3.5], [[9], 2.0]]},
    "forced end": lambda a: {"forced_eos_token_id": [7, 5], "remove_invalid_values": True},
    "several ends": lambda a: {"eos_token_id": [a[9], a[5], 5]},
    "no early end": lambda a: {"eos_token_id": [a[2], a[4]], "min_new_tokens": 11},
    "no short sequence": lambda a: {"eos_token_id": a[2], "min_length": 50},
    "growing end": lambda a: {"exponential_decay_length_penalty": [4, 1.6]},
    "everything": lambda a: {
        "repetition_penalty": 1.05,
        "no_repeat_ngram_size": 3,
        "suppress_tokens": [a[0]],
        "bad_words_ids": [[a[1]], a[2:4]],
        "min_new_tokens": 3,
        "forced_eos_token_id": 7,
    },
    "sampling": lambda a: {"do_sample": True, "top_k": 3, "top_p": 0.2, "temperature": 9.0},
}


@pytest.mark.parametrize("name", FIELDS)
def test_answers_are_those_of_transformers(side, name):
    plain = side.ours()
    assert len(plain) == TOKENS
    ours = side.ours(**FIELDS[name](plain))
    assert ours == side.theirs()
    # A setting that changes nothing would prove nothing.
    assert (ours != plain) == (name != "sampling")


def test_published_settings_of_qwen(side):
    ends = [*side.model.end_ids, 0]
    fields = {"repetition_penalty": 1.05, "temperature": 1e-6, "do_sample": True}
    assert side.ours(eos_token_id=ends, **fields) == side.theirs()


def test_settings_hold_for_every_masked_image(side):
    fields = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    whole = side.ours(**fields)
    generation, _ = read_generation(side.folder, side.config, side.model.tokenizer)
    model = dataclasses.replace(side.model, generation=generation)
    labels = np.arange(112 * 112, dtype=np.int32).reshape(112, 112) // (112 * 56)
    sets = np.array([[True, True], [True, False], [True, True]])
    said = regenerate(
        model,
        side.image,
        labels,
        families.PROMPT,
        sets,
        max_new_tokens=TOKENS,
        settle=(),
        batch_size=4,
    )
    assert said[0] == said[2] == model.tokenizer.decode(whole, skip_special_tokens=True)
    assert said[1] != said[0]


class _Tokenizer:
    eos_token_id = 77


def read(folder, generation=None, **config):
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return read_generation(folder, config, _Tokenizer())


def test_generation_config_wins_over_config(tmp_path):
    text = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 4, "eos_token_id": 6}
    config = {"repetition_penalty": 2.0, "no_repeat_ngram_size": None, "text_config": text}
    settings, ends = read(tmp_path, **config)
    assert dict(settings.fields) == {"repetition_penalty": 2.0, "no_repeat_ngram_size": 4}
    assert ends == (6,)
    settings, ends = read(tmp_path, {"eos_token_id": [3, 4]}, **config, eos_token_id=5)
    assert settings.fields == () and ends == (3, 4)


def test_an_end_that_no_file_says_is_said(tmp_path):
    settings, ends = read(tmp_path, {})
    assert ends == (77,)
    with pytest.warns(UserWarning, match="says no eos_token_id: answers end with"):
        assert settings.rules(ends, 5, 100) is None


def rules(**fields):
    return GenerationSettings(fields=tuple(fields.items())).rules((1, 2), 10, 100)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"repetition_penalty": 1.0, "encoder_repetition_penalty": 1, "min_length": 10},
        {"no_repeat_ngram_size": 0, "remove_invalid_values": False, "min_new_tokens": 0},
        {"bad_words_ids": [[1], [2]], "suppress_tokens": [-1, 100]},
        {"num_beams": 1, "guidance_scale": 1.0, "diversity_penalty": 0.0, "stop_strings": []},
    ],
)
def test_fields_that_change_nothing_cost_nothing(fields):
    assert rules(**fields) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repetition_penalty", "1.05"),
        ("repetition_penalty", 0),
        ("repetition_penalty", True),
        ("encoder_repetition_penalty", -1.0),
        ("no_repeat_ngram_size", 2.5),
        ("min_new_tokens", -1),
        ("min_length", "x"),
        ("bad_words_ids", [3]),
        ("bad_words_ids", [[]]),
        ("bad_words_ids", [[100]]),
        ("bad_words_ids", {"a": 1}),
        ("sequence_bias", [[[3], "x"]]),
        ("sequence_bias", 5),
        ("suppress_tokens", ["a"]),
        ("exponential_decay_length_penalty", [4]),
        ("forced_eos_token_id", "a"),
    ],
)
def test_unusable_values_are_named(name, value):
    with pytest.raises(InputError, match=f"^generation_config.json: {name} is .*; it must be"):
        rules(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_beams", 4), ("guidance_scale", 1.5), ("stop_strings", ["."]), ("max_time", 3.0)],
)
def test_unsupported_fields_are_named_where_the_model_answers(name, value, tmp_path):
    settings, _ = read(tmp_path, {"eos_token_id": 3, name: value})
    with pytest.raises(InputError, match=f"sets {name}, which .* remove the field there"):
        settings.rules((3,), 10, 100)


def test_absent_rules_are_no_part_of_the_program():
    with warnings.catch_warnings():
        found = rules(repetition_penalty=1.2)
    assert isinstance(found, LogitRules)
    assert [name for name, value in vars(found).items() if value is not None and value] == [
        "penalty"
    ]
