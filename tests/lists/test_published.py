"""The published lists and raw questions, good and broken, made on the spot."""

import json

import pytest

from eagle_jax.errors import InputError
from eagle_jax.lists import Broken, Item, read_list
from eagle_jax.lists.prompts import CAPTION, prompt_difference, yes_no_prompt

PROMPT = [151644, 872, 151655, 151655, 198]
ANSWER = [785, 8251, 374, 151645]
SPLIT = {"generated_ids": [PROMPT + ANSWER], "words": ["The", " cat", " is", ""]}
WHOLE_ANSWER = SPLIT | {
    "generate_sentence": "The cat is",
    "selected_interpretation_token_id": [0, 1, 2, 3],
    "selected_interpretation_token_word_id": ANSWER,
}
CAPTIONED = {"image_path": "1.jpg", "gt_caption": ["A", "B"]} | WHOLE_ANSWER
MMVP = {
    "question_id": "1",
    "image_filename": "1.jpg",
    "question": "Open or closed? ",
    "options": ["Open", "Closed"],
    "answer": "a",
} | WHOLE_ANSWER
REPOPE = {
    "image_name": "1.jpg",
    "question": "Is there a skis in the image?",
    "label": "no",
    "generate_sentence": "Yes",
    "generated_ids": [[*PROMPT, 9454, 151645]],
    "selected_interpretation_token_id": [0],
    "selected_interpretation_token_word_id": [9454],
    "words": ["Yes", ""],
    "counter_word_id": [2753],
    "id": 101,
}
OBJECT = {
    "image_path": "1.jpg",
    "gt_caption": "A cat.",
    "generate_sentence": "The cat is",
    "generated_ids": PROMPT + ANSWER,
    "output_word_id": ANSWER,
    "select_category": "cat",
    "location": [0, 3, 27, 47],
    "segmentation": [[0.5, 3, 27, 3.2, 12, 47]],
    "target_generated_index": 1,
    "target_generated_id": 8251,
    "target_generated_token": "Ġcat",
}
PUBLISHED = {"caption": CAPTIONED, "mmvp": MMVP, "repope": REPOPE, "object": OBJECT}


@pytest.fixture
def folder(tmp_path):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"not opened")
    return tmp_path


def write(folder, content):
    path = folder / "list.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def test_the_published_prompts():
    assert CAPTION == (
        "Describe the image in one factual English sentence of no more than 20 words. Do not "
        "include information that is not clearly visible."
    )
    lines = yes_no_prompt("Is it {red}?").split("\n")
    assert lines == [
        "You are asked a visual question answering task. ",
        'First, answer strictly with "Yes" or "No". ',
        "Then, provide a short explanation if necessary.",
        "",
        "Question: Is it {red}?",
        "Answer:",
    ]


def test_published_captions(folder):
    assert read_list(write(folder, [CAPTIONED])) == [
        Item(
            name="1",
            place="entry 1",
            image=folder / "1.jpg",
            prompt=CAPTION,
            answer=tuple(ANSWER),
            target=(0, 1, 2, 3),
            prompt_ids=tuple(PROMPT),
        )
    ]


def test_published_mmvp_answers(folder):
    (item,) = read_list(write(folder, [MMVP]))
    assert (item.name, item.prompt) == ("1", "Open or closed? ")
    assert (item.prompt_ids, item.answer) == (tuple(PROMPT), tuple(ANSWER))


def test_published_repope_answers(folder):
    twin = REPOPE | {"id": 102, "label": "Yes"}
    item, other = read_list(write(folder, [REPOPE, twin]))
    assert item == Item(
        name="1_101",
        place="entry 1",
        image=folder / "1.jpg",
        prompt=yes_no_prompt("Is there a skis in the image?"),
        answer=(9454, 151645),
        target=(0,),
        target_ids=(2753,),
        prompt_ids=tuple(PROMPT),
        label="No",
    )
    assert (other.name, other.label) == ("1_102", "Yes")


def test_published_objects(folder):
    assert read_list(write(folder, [OBJECT])) == [
        Item(
            name="1",
            place="entry 1",
            image=folder / "1.jpg",
            prompt=CAPTION,
            answer=tuple(ANSWER),
            target=(1,),
            prompt_ids=tuple(PROMPT),
            category="cat",
            boxes=((0, 3, 27, 47),),
            polygons=((0.5, 3.0, 27.0, 3.2, 12.0, 47.0),),
        )
    ]


@pytest.mark.parametrize(
    "kind, change, reason",
    [
        ("caption", {"image_path": "9.jpg"}, "9.jpg: no such image file"),
        ("caption", {"generated_ids": None}, "the field 'generated_ids' is missing"),
        ("caption", {"generated_ids": [PROMPT, ANSWER]}, "must be a list of whole numbers"),
        ("caption", {"generated_ids": ANSWER}, "has 4 ids, but the answer alone has 4 tokens"),
        (
            "caption",
            {"generated_ids": [PROMPT + ANSWER[:-1] + [13]]},
            "'selected_interpretation_token_word_id' has 151645 at index 3, but the answer in "
            "'generated_ids' has 13",
        ),
        ("caption", {"words": "The cat"}, "'words' must be a list of the answer's tokens"),
        ("caption", {"selected_interpretation_token_id": [0, 1]}, "has 4 entries for 2"),
        ("caption", {"selected_interpretation_token_id": [0, 1, 2, 4]}, "the position 4"),
        ("mmvp", {"question": ""}, "'question' is empty"),
        ("repope", {"label": "unsure"}, """'label' must be "Yes" or "No", not "unsure\""""),
        ("repope", {"counter_word_id": [1, 2]}, "has 2 entries for 1 target positions"),
        ("repope", {"id": None}, "the field 'id' is missing"),
        ("repope", {"id": [1]}, "'id' must be a whole number or text, not [1]"),
        ("object", {"target_generated_id": 9}, "is 9, but token 1 of the answer is 8251"),
        ("object", {"target_generated_index": 4}, "is 4, but the answer has 4 tokens"),
        (
            "object",
            {"output_word_id": ANSWER[1:] + [7]},
            "'output_word_id' has 8251 at index 0",
        ),
        ("object", {"location": [5, 3, 0, 9]}, "its corners are swapped"),
        ("object", {"segmentation": {"counts": "x"}}, "must be a list of polygons"),
        ("object", {"select_category": 3}, "'select_category' must be text, not 3"),
    ],
)
def test_what_is_wrong_with_a_published_entry(folder, kind, change, reason):
    good = PUBLISHED[kind]
    name = next(name for name in good if name.startswith("image"))
    path = write(folder, [good | change, "?", good | {name: "2.jpg"}])
    broken, text, item = read_list(path)
    assert isinstance(broken, Broken) and broken.place == "entry 1"
    assert reason in broken.reason and "\n" not in broken.reason
    assert text == Broken("entry 2", 'the entry must be a JSON object, not "?"')
    assert isinstance(item, Item) and item.image == folder / "2.jpg"


def test_mmvp_questions(folder):
    path = write(
        folder,
        "\ufeffIndex,Question,Options,Correct Answer\r\n"
        '1,"Open, or\nclosed?",(a) Open (b) Closed,(a)\r\n'
        "9,Where?,(a) x,(b)\r\n"
        "x,Where?,(a) x,(b)\r\n"
        "\r\n"
        "2,Where?\r\n"
        "2,Where?,(a) x,(b)\r\n",
    )
    found = read_list(path)
    assert found[0] == Item("1", "line 2", folder / "1.jpg", "Open, or\nclosed?")
    assert [entry.place for entry in found] == [f"line {n}" for n in (2, 4, 5, 7, 8)]
    assert [isinstance(entry, Broken) for entry in found] == [False, True, True, True, False]
    assert found[1].reason.endswith("9.jpg: no such image file")
    assert found[2].reason == """'Index' must be the number of an image, not "x\""""
    assert found[3].reason == "the row has 2 columns, but the first line has 4"
    path.write_bytes(path.read_bytes().replace(b"Where", b"\xff"))
    found = read_list(path, images=folder)
    assert "'question' is not valid Unicode text" in found[-1].reason


def test_a_field_too_large_for_a_table(folder):
    path = write(folder, f"index,question\n1,{'x' * 200_000}\n2,Where?\n")
    broken, item = read_list(path)
    assert "not a valid row" in broken.reason
    assert item == Item("2", "line 3", folder / "2.jpg", "Where?")


@pytest.mark.parametrize("lines", [True, False])
def test_repope_labels(folder, lines):
    entry = {"question_id": 1, "image": "1.jpg", "text": "Is there a cat?", "label": "no"}
    other = {"image": "1.jpg", "question": "Is there a dog?", "label": "yes"}
    entries = [entry, entry | {"label": 1}, other]
    text = "\n".join(map(json.dumps, entries)) if lines else json.dumps(entries)
    item, broken, unnumbered = read_list(write(folder, text))
    assert item == Item(
        name="1_1",
        place="line 1" if lines else "entry 1",
        image=folder / "1.jpg",
        prompt=yes_no_prompt("Is there a cat?"),
        label="No",
    )
    assert broken.reason == "'label' must be text, not 1"
    assert (unnumbered.name, unnumbered.label) == ("1", "Yes")


def test_a_damaged_published_list(folder):
    path = write(folder, [CAPTIONED])
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputError, match="is not a list of questions: not valid JSON"):
        read_list(path)


class Tokens:
    """A tokenizer of ten tokens."""

    def __len__(self):
        return 10

    def decode(self, ids):
        return "".join("abcdefghij"[i] for i in ids)


@pytest.mark.parametrize(
    "expected, own, where",
    [
        (
            [1, 2],
            [1, 3],
            "of 2 tokens differs from the 2 tokens built here at position 1: "
            "recorded 2 'c', built 3 'd'",
        ),
        ([1, 2], [1, 2, 3], "3 tokens built here at position 2: recorded no token, built 3"),
        ([1, 2], [1], "at position 1: recorded 2 'c', built no token"),
        ([99], [1], "recorded 99, which is not a token of this model, built 1 'b'"),
    ],
)
def test_where_a_prompt_differs(expected, own, where):
    assert where in prompt_difference(expected, own, Tokens())
    assert prompt_difference(own, own, Tokens()) is None


POPE = {
    "question_id": 1,
    "image": "1.jpg",
    "text": "Is there a dog in the image?\nAnswer the question using a single word or phrase.",
    "category": "random",
}


@pytest.mark.parametrize("category", ["random", "popular", "adversarial"])
def test_questions_of_pope_without_answers(folder, category):
    entries = [POPE | {"category": category, "question_id": n} for n in (1, 2)]
    path = write(folder, "\n".join(map(json.dumps, entries)))
    with pytest.raises(InputError, match="POPE without their answers: take coco_pope_"):
        read_list(path)
    (bad, _) = read_list(path, format="repope-labels")
    assert "without its answer: take coco_pope_" in bad.reason
    labelled = {"question_id": 7, "image": "1.jpg", "text": "Is there a cat?", "label": "no"}
    mixed = [labelled, labelled | {"question_id": 8}, entries[0]]
    found = read_list(write(folder, "\n".join(map(json.dumps, mixed))))
    assert [isinstance(entry, Item) for entry in found] == [True, True, False]
    assert "without its answer" in found[2].reason


@pytest.mark.parametrize("category", ["conv", "default", None])
def test_other_questions_of_llava(folder, category):
    entry = POPE | {"category": category, "text": "<image>\nWhat is it?"}
    (item,) = read_list(write(folder, [entry]))
    assert item == Item("1_1", "entry 1", folder / "1.jpg", "What is it?")


@pytest.mark.parametrize("source", ["1", "1.jpg"])
@pytest.mark.parametrize("format", [None, "pope-export", "repope-labels"])
def test_pope_as_the_hub_exports_it(folder, source, format):
    entry = {
        "id": "0",
        "question_id": "5",
        "question": "Is there a dog in the image?",
        "answer": "no",
        "image_source": source,
        "category": "adversarial",
    }
    bad = entry | {"answer": "maybe", "question_id": "6"}
    item, broken, absent = read_list(
        write(folder, [entry, bad, entry | {"image_source": "9"}]), format=format
    )
    prompt = yes_no_prompt("Is there a dog in the image?")
    assert item == Item("1_5", "entry 1", folder / "1.jpg", prompt, label="No")
    assert "'answer' must be" in broken.reason
    assert absent.reason.endswith("9.jpg: no such image file")


@pytest.mark.parametrize("header", ["Index,Question", "lndex,Question", "index,question"])
def test_mmvp_with_its_images_beside_it(folder, header):
    (folder / "MMVP Images").mkdir()
    (folder / "MMVP Images" / "3.jpg").write_bytes(b"not opened")
    path = folder / "Questions.csv"
    path.write_text(
        f"{header},Options,Correct Answer\n3,Where?,(a) x,(a)\n1,Where?,(a) x,(b)\n"
    )
    three, one = read_list(path)
    assert three == Item("3", "line 2", folder / "MMVP Images" / "3.jpg", "Where?")
    assert one.image == folder / "1.jpg"


def test_mmvp_as_json(folder):
    entry = {"Index": 1, "Question": "Where?", "Options": "(a) x", "Correct Answer": "(a)"}
    assert read_list(write(folder, [entry])) == [
        Item("1", "entry 1", folder / "1.jpg", "Where?")
    ]


def turns(*texts):
    return [
        {"from": speaker, "value": text}
        for speaker, text in zip(("human", "gpt") * 2, texts, strict=False)
    ]


@pytest.mark.parametrize(
    "entry, prompt, label",
    [
        (
            {"image": "1.jpg", "conversations": turns("<image>\nIs it?", "Yes.")},
            "Is it?",
            "Yes",
        ),
        ({"image": "1.jpg", "conversations": turns("Is it?\n<image>", "no")}, "Is it?", "No"),
        ({"image": "1.jpg", "conversations": turns("What?", "A cat.", "Why?")}, "What?", None),
        ({"image": "1.jpg", "conversations": turns("<image>What?")}, "What?", None),
        (
            {"images": ["1.jpg"], "messages": [{"role": "user", "content": "<image>What?"}]},
            "What?",
            None,
        ),
        (
            {
                "images": ["1.jpg"],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image"}, {"type": "text", "text": "What?"}],
                    },
                    {"role": "assistant", "content": [{"type": "text", "text": "No"}]},
                ],
            },
            "What?",
            "No",
        ),
    ],
)
def test_conversations(folder, entry, prompt, label):
    (item,) = read_list(write(folder, [entry | {"id": "x"}]))
    assert item == Item("1", "entry 1", folder / "1.jpg", prompt, label=label)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"image": None}, "the field 'image' is missing"),
        ({"image": ["1.jpg", "2.jpg"]}, "the conversation has 2 images"),
        ({"conversations": turns("<image><image>Same?")}, "the question has 2 images"),
        ({"conversations": turns("<image>\n")}, "'question' is empty"),
        ({"conversations": [{"from": "system", "value": "Be brief."}]}, "with a system text"),
        ({"conversations": [{"from": "gpt", "value": "A cat."}]}, "must begin with a question"),
        ({"conversations": []}, "the field 'messages' is missing"),
        ({"conversations": "x"}, "must be a list of turns"),
        ({"conversations": [3]}, "must be a list of turns"),
        ({"conversations": [{"from": "human"}]}, "the field 'turn' is missing"),
    ],
)
def test_conversations_that_cannot_be_used(folder, change, reason):
    good = {"image": "1.jpg", "conversations": turns("<image>\nWhat?", "A cat.")}
    bad, item = read_list(write(folder, [good | change, good]))
    assert isinstance(bad, Broken) and reason in bad.reason and isinstance(item, Item)
