"""Lists built from a model's own answers, with the demo model on drawn scenes."""

import dataclasses
import json

import numpy as np
import pytest
import small_tokenizer
from PIL import Image
from transformers import AutoTokenizer

import eagle_jax
from eagle_jax import InputError, cli
from eagle_jax.demo import MISTAKES
from eagle_jax.demo.questions import CAPTION_PROMPT, presence_question
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.inputs.answer import encode_answer, token_texts
from eagle_jax.interrupts import rescue_all
from eagle_jax.lists import Broken, build, read_list
from eagle_jax.lists.build import LeftOut, build_list
from eagle_jax.lists.words import find_object, plural, said_yes_or_no

MISTAKE = json.loads(MISTAKES.read_text())["wrong_yes"][0]


@pytest.fixture(scope="module")
def model():
    return eagle_jax.load("demo")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    small_tokenizer.save_small_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(MISTAKE["seed"])


@pytest.fixture
def questions(tmp_path, scene):
    """A list about one scene: right and wrong answers, an object, a caption, broken lines."""
    Image.fromarray(scene.image).save(tmp_path / "scene.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    seen = scene.objects[0]
    asked = {"image": "scene.png"}
    entries = [
        asked | {"prompt": presence_question(seen.kind), "label": "Yes", "name": "right"},
        asked | {"prompt": MISTAKE["question"], "label": "No", "name": "wrong"},
        asked
        | {"prompt": CAPTION_PROMPT, "category": seen.kind, "boxes": [list(seen.box)]}
        | {"name": "object"},
        asked | {"prompt": CAPTION_PROMPT, "category": "zebra", "name": "absent"},
        asked | {"prompt": CAPTION_PROMPT, "name": "caption", "answer": [1, 2], "target": [1]},
        asked | {"prompt": CAPTION_PROMPT, "target": "image shows", "name": "phrase"},
        asked | {"prompt": CAPTION_PROMPT, "target": "zebra", "name": "no phrase"},
        {"image": "damaged.png", "prompt": CAPTION_PROMPT},
        {"image": "scene.png"},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)))
    return path


def texts(model, item):
    ids = np.array(item.answer, np.int32)
    return [token_texts(model.tokenizer, ids)[position].strip() for position in item.target]


def test_what_is_made_of_each_answer(model, questions, scene, tmp_path):
    built = build_list(model, read_list(questions), tmp_path / "new.jsonl")
    wrong, seen, caption, phrase = built.items
    assert [item.place for item in built.items] == ["line 2", "line 3", "line 5", "line 6"]
    assert (wrong.name, wrong.label, wrong.target) == ("wrong", "No", (0,))
    assert texts(model, wrong) == ["Yes"]
    assert model.tokenizer.decode(wrong.target_ids[0]).strip() == "No"
    assert texts(model, seen) == [scene.objects[0].kind]
    assert (seen.category, seen.boxes) == (scene.objects[0].kind, (scene.objects[0].box,))
    assert caption.target is None and caption.answer[-1] in model.end_ids
    assert texts(model, phrase) == ["image", "shows"]
    assert built.left_out == [
        LeftOut("line 1", "the answer is right"),
        LeftOut("line 4", "the answer does not name the zebra"),
        LeftOut("line 7", "the answer does not contain 'zebra'"),
    ]
    damaged = questions.parent / "damaged.png"
    assert built.failures == [
        Broken("line 8", f"{damaged}: not an image file that Pillow can read"),
        Broken("line 9", "the field 'prompt' is missing"),
    ]


def test_an_answer_is_the_one_that_would_be_explained(model, scene):
    ids = eagle_jax.generate(model, scene.image, MISTAKE["question"])
    case = eagle_jax.ask(model, scene.image, MISTAKE["question"], regions="grid:1x2")
    assert ids.tolist() == case.answer_ids.tolist()
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        eagle_jax.generate(model, scene.image, CAPTION_PROMPT, max_new_tokens=0)


def test_a_built_list_reads_back_and_is_the_same_again(model, questions, tmp_path):
    entries = read_list(questions)
    built = build_list(model, entries, tmp_path / "new.jsonl", keep="all")
    assert [item.name for item in built.items] == [
        "right",
        "wrong",
        "object",
        "caption",
        "phrase",
    ]
    assert built.items[0].target == (0,) and built.items[0].target_ids is None
    assert len(built.left_out) == 2 and len(built.failures) == 2 and not built.interrupted
    again = read_list(tmp_path / "new.jsonl")
    for number, (one, item) in enumerate(zip(again, built.items, strict=True), 1):
        assert vars(one) == vars(item) | {"place": f"line {number}"}
    build_list(model, entries, tmp_path / "second.jsonl", keep="all")
    assert (tmp_path / "new.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_nothing_of_a_recorded_answer_stays(model, questions, tmp_path):
    item = read_list(questions)[4]
    recorded = dataclasses.replace(item, prompt_ids=(1, 2), target_ids=(3,))
    (built,) = build_list(model, [recorded], tmp_path / "new.jsonl").items
    assert (built.prompt_ids, built.target, built.target_ids) == (None, None, None)
    assert built.answer != item.answer


def test_an_image_is_asked_the_same_once(model, questions, tmp_path, monkeypatch):
    asked = []

    def generate(model, image, prompt, **limits):
        asked.append((image.name, prompt))
        return eagle_jax.generate(model, image, prompt, **limits)

    monkeypatch.setattr(build, "generate", generate)
    build_list(model, read_list(questions), tmp_path / "new.jsonl")
    assert len(asked) == len(set(asked)) == 4


def test_count_ends_the_work(model, questions, tmp_path):
    built = build_list(model, read_list(questions), tmp_path / "new.jsonl", count=1)
    assert [item.name for item in built.items] == ["wrong"] and not built.failures


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_what_is_done_is_written_whatever_ends_the_work(
    model, questions, tmp_path, monkeypatch, end
):
    calls = []

    def generate(*arguments, **limits):
        calls.append(arguments)
        if len(calls) == 3:
            # As when the process ends at once.
            rescue_all()
            assert [item.name for item in read_list(tmp_path / "new.jsonl")] == ["wrong"]
            raise end
        return eagle_jax.generate(*arguments, **limits)

    monkeypatch.setattr(build, "generate", generate)
    arguments = model, read_list(questions), tmp_path / "new.jsonl"
    if end is KeyboardInterrupt:
        assert build_list(*arguments).interrupted
    else:
        with pytest.raises(end):
            build_list(*arguments)
    assert [item.name for item in read_list(tmp_path / "new.jsonl")] == ["wrong"]


def test_an_existing_file_is_kept(model, questions, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        build_list(model, [], questions)
    with pytest.raises(InputError, match="keep is 'some'"):
        build_list(model, [], tmp_path / "new.jsonl", keep="some")
    assert not (tmp_path / "new.jsonl").exists()


def run(*arguments):
    return cli.main(["build", *map(str, arguments)])


def test_the_command(model, questions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    monkeypatch.setattr(eagle_jax, "load", lambda *_, **__: model)
    out = tmp_path / "new.jsonl"
    assert run(questions, "--out", out) == 1
    printed, errors = capsys.readouterr()
    assert errors.splitlines()[1] == "line 9: the field 'prompt' is missing"
    assert f"written     {out}: 4 of 9 items" in printed
    assert "left out    1: the answer is right" in printed
    assert "failed      2, named above" in printed
    assert len(read_list(out)) == 4

    assert run(questions, "--out", out) == 2
    assert "exists already" in capsys.readouterr().err
    lines = questions.read_text().splitlines()
    questions.write_text("\n".join(lines[1:2]))
    assert run(questions, "--out", tmp_path / "good.jsonl") == 0
    questions.write_text(lines[0])
    assert run(questions, "--out", tmp_path / "empty.jsonl") == 1
    assert "written     nothing" in capsys.readouterr().out
    questions.write_text(lines[-1])
    assert run(questions, "--out", tmp_path / "bad.jsonl") == 2
    told = capsys.readouterr().err
    assert "none of the 1 entries" in told and "line 1: the field 'prompt' is missing" in told
    assert not (tmp_path / "bad.jsonl").exists() and not (tmp_path / "empty.jsonl").exists()


def test_an_interrupted_command(model, questions, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    monkeypatch.setattr(eagle_jax, "load", lambda *_, **__: model)
    monkeypatch.setattr(build, "generate", interrupt)
    assert run(questions, "--out", tmp_path / "new.jsonl") == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer, name, plurals, token",
    [
        ("There is a red cat.", "cat", False, " cat"),
        ("A Cat and a cat.", "cat", False, " Cat"),
        ("A zebra and a traffic light.", "traffic light", False, " traffic"),
        ("Two cats and a cat.", "cat", False, " cat"),
        ("Two cats and a cat.", "cat", True, " cat"),
        ("Traffic  lights.", "traffic light", True, "T"),
        ("A zebra.", "zebra", False, "z"),
    ],
)
def test_the_token_that_begins_an_objects_word(tokenizer, answer, name, plurals, token):
    ids = encode_answer(tokenizer, answer)
    position = find_object(tokenizer, ids, name, plurals)
    found = token_texts(tokenizer, ids)
    assert found[position].startswith(token)
    place = len("".join(found[:position]))
    word = name.split()[0]
    if not plurals:
        assert answer[place:].strip().casefold().startswith(word)
        before = answer[:place]
        assert not before or not before[-1].isalnum() or answer[place] == " "
    first = answer.casefold().index(word) if plurals else None
    assert first is None or place <= first < place + len(found[position])


@pytest.mark.parametrize(
    "answer, name, plurals",
    [
        ("A category.", "cat", False),
        ("Two cats.", "cat", False),
        ("A concatenation.", "cat", True),
        ("A light.", "traffic light", True),
    ],
)
def test_other_words_do_not_name_an_object(tokenizer, answer, name, plurals):
    with pytest.raises(InputError, match=f"the answer does not name the {name}"):
        find_object(tokenizer, encode_answer(tokenizer, answer), name, plurals)


class JoinedTokens:
    """A tokenizer whose only token is an article and a noun in one."""

    all_special_ids = []
    added_tokens_decoder = {}

    def decode(self, ids, **_):
        return "".join(" a cat" for _ in ids)


def test_a_token_that_begins_with_another_word_is_no_target():
    with pytest.raises(InputError, match="the token 'a cat' of the answer does not begin"):
        find_object(JoinedTokens(), np.array([0], np.int32), "cat")


def test_plurals():
    words = ["cat", "bus", "knife", "person", "wine glass", "teddy", "key", "Mouse", "bench"]
    assert [plural(word.split()[-1]) for word in words] == [
        "cats",
        "buses",
        "knives",
        "people",
        "glasses",
        "teddies",
        "keys",
        "mice",
        "benches",
    ]


def test_yes_and_no(tokenizer):
    said = [said_yes_or_no(tokenizer, encode_answer(tokenizer, t)) for t in ("Yes, a", "No")]
    assert said == [("Yes", "No"), ("No", "Yes")]
    with pytest.raises(InputError, match="the answer begins with 'T', which is neither"):
        said_yes_or_no(tokenizer, encode_answer(tokenizer, "There is a cat."))
