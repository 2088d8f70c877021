"""Models that think before they answer: targets and labels behind the thought."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints

import eagle_jax
from eagle_jax import InputError
from eagle_jax.explaining import corrections, diagnosis
from eagle_jax.explaining.corrections import removal_answers
from eagle_jax.explaining.preparation import prepare_case
from eagle_jax.inputs.answer import encode_answer
from eagle_jax.lists import Item
from eagle_jax.lists import build as building
from eagle_jax.lists.build import build_list
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring import case as cases
from eagle_jax.scoring.answers import regenerate
from eagle_jax.scoring.case import AskSettings
from eagle_jax.search.sets import Curves

PICTURE = np.zeros((64, 64, 3), np.uint8)
LABELS = np.repeat(np.arange(2, dtype=np.int32), 32)[:, None].repeat(64, axis=1)
ASKED = "Is there a cat?"
OPENED = "There is a Cat, Yes.</think>\n\nNo, a cat."
SPLIT = OPENED.index("No")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thinking") / "model"
    return eagle_jax.load(tiny_checkpoints.make_qwen3_vl(folder))


@pytest.fixture
def model(plain, monkeypatch):
    """A model whose template begins a thought, or with its switch writes an empty one."""
    end = "{% if enable_thinking is false %}<think></think>{% else %}<think>\n{% endif %}"
    template = plain.tokenizer.chat_template.replace("assistant\n", "assistant\n" + end)
    monkeypatch.setattr(plain.tokenizer, "chat_template", template)
    return plain


@pytest.fixture
def says(model, monkeypatch):
    """Sets what the model answers."""

    def set_answer(text, cut=False):
        ids = encode_answer(model.tokenizer, text)[: -1 if cut else None]
        for module, name in (
            (cases, "whole_answer"),
            (diagnosis, "generate"),
            (building, "generate"),
        ):
            monkeypatch.setattr(module, name, lambda *args, **options: ids)

    return set_answer


def prepared(model, **settings):
    item = Item("a", "line 1", Path("a.png"), ASKED, label="Yes")
    return prepare_case(model, item, PICTURE, LABELS, AskSettings(**settings))


def before(case):
    (position,) = case.positions
    return case.model.tokenizer.decode(case.answer_ids[:position])


def test_a_label_is_scored_behind_the_thought(model, says):
    says(OPENED)
    case = prepared(model)
    assert before(case) == OPENED[:SPLIT] and case.scorer.tokens == ("Yes",)
    says("Yes, a cat.")
    assert before(prepared(model, thinking="off")) == ""
    with pytest.raises(InputError, match="ends inside its thought, after"):
        prepared(model)
    says("<think>\n\n</think>\n\nNo")
    assert before(prepared(model, thinking="off")) == "<think>\n\n</think>\n\n"


def test_the_switch_and_the_system_message_reach_the_prompt(model):
    text = "Answer in one word."
    case = eagle_jax.ask(
        model, PICTURE, ASKED, answer="Yes", regions=LABELS, thinking="off", system=text
    )
    prompt = model.tokenizer.decode(case.prompt_ids)
    assert prompt.startswith(f"<|im_start|>system\n{text}<|im_end|>\n<|im_start|>user")
    assert prompt.endswith("assistant\n<think></think>") and not case.thinks
    recorded = eagle_jax.explain(case)
    assert (recorded.system, recorded.thinking) == (text, "off")
    asked = {"max_new_tokens": 3, "thinking": "off", "system": text}
    said = eagle_jax.generate(model, PICTURE, ASKED, **asked)
    own = eagle_jax.ask(model, PICTURE, ASKED, regions=LABELS, **asked)
    assert own.answer_ids.tolist() == said.tolist()


@pytest.mark.parametrize(
    ("text", "cut", "said"),
    [
        (OPENED, False, ""),
        (OPENED, True, r"the answer ends after \d+ tokens: raise max_new_tokens"),
        ("There is", True, r"the answer ends inside the thought after \d+ tokens"),
    ],
)
def test_an_answer_that_was_cut_says_so(text, cut, said, model, says, tmp_path):
    says(text, cut)
    explained = eagle_jax.explain(model, PICTURE, ASKED, regions=LABELS, search="exact")
    explained.save(tmp_path / "saved")
    line = [line for line in explained.summary().splitlines() if line.startswith("cut ")]
    assert bool(line) == bool(said)
    assert Attribution.load(tmp_path / "saved").cut == explained.cut
    assert not said or re.search(said, line[0])


def test_corrections_read_the_answer_behind_the_thought(model, says, monkeypatch):
    says(OPENED)
    case = prepared(model)
    answers = {"limit": None}

    def scripted(*args, max_new_tokens=16, **options):
        answers["limit"] = max_new_tokens
        return answers["texts"]

    monkeypatch.setattr(corrections, "regenerate", scripted)
    curves = Curves(np.arange(2, dtype=np.int32), *2 * [np.zeros((3, 1), np.float32)])
    answers["texts"] = ["<think>\nYes", "<think>\nNo </think> Yes", "<think>\nYes </think> No"]
    found = removal_answers(case, curves, "Yes", max_new_tokens=99)
    assert found == tuple(answers["texts"]) and answers["limit"] == 99
    answers["texts"] = 3 * ["<think>\nYes, there"]
    with pytest.raises(InputError, match="every answer ends inside its thought after 99 tok"):
        removal_answers(case, curves, "Yes", max_new_tokens=99)
    says("No")
    answers["texts"] = ["Yes", "Yes", "No"]
    removal_answers(prepared(model, thinking="off"), curves, "Yes", max_new_tokens=99)
    assert answers["limit"] == 16


def test_regenerated_answers_begin_with_the_mark_of_the_thought(model):
    sets = np.array([[True, True], [False, True]])
    for thinking, begun in ((None, True), ("off", False)):
        texts = regenerate(
            model, PICTURE, LABELS, ASKED, sets, max_new_tokens=3, thinking=thinking
        )
        assert [text.startswith("<think>\n") for text in texts] == 2 * [begun]


def test_a_diagnosis_reads_the_answer_behind_the_thought(model, says):
    says(OPENED)
    found = eagle_jax.diagnose(model, PICTURE, ASKED, "No", regions=LABELS)
    assert found.right and found.before == "<think>\n" + OPENED
    says("Yes, there")
    with pytest.raises(InputError, match="ends inside its thought"):
        eagle_jax.diagnose(model, PICTURE, ASKED, "No", regions=LABELS)


def test_a_built_list_has_targets_behind_the_thought(model, says, tmp_path):
    says(OPENED)
    items = [
        Item("a", "line 1", Path("a.png"), ASKED, label="Yes"),
        Item("b", "line 2", Path("b.png"), ASKED, category="cat"),
        Item("c", "line 3", Path("c.png"), ASKED, target="cat"),
        Item("d", "line 4", Path("d.png"), ASKED, target="Yes"),
    ]
    built = build_list(model, items, tmp_path / "list.jsonl")
    assert [item.name for item in built.items] == ["a", "b", "c"]
    assert built.left_out[0].reason == "the answer does not contain 'Yes'"
    ids = encode_answer(model.tokenizer, OPENED)
    for item in built.items:
        assert "</think>" in model.tokenizer.decode(ids[: item.target[0]])
