"""Lists of questions about images: the format of this package, names, and broken entries."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eagle_jax.errors import InputError
from eagle_jax.lists import Broken, Item, read_list, write_list
from eagle_jax.lists.reading import FORMATS

GOOD = {"image": "cat.jpg", "prompt": "Is there a cat in the image?"}
WHOLE = GOOD | {
    "runs": [0, 45],
    "size": [9, 5],
    "answer": [3, 1, 4],
    "target": [0, 2],
    "target_ids": [7, "No"],
    "label": "no",
    "category": "cat",
    "boxes": [[0, 1, 5, 9]],
    "polygons": [[0, 0, 5.5, 0, 5, 9]],
    "mask": "mask.png",
    "name": "first",
}


@pytest.fixture
def folder(tmp_path):
    for name in ("cat.jpg", "dog.jpg", "mask.png"):
        (tmp_path / name).write_bytes(b"not opened")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "cat.jpg").write_bytes(b"")
    return tmp_path


def write(folder, *entries):
    """Writes a list of lines, each an object or the text of a line."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    path = folder / "list.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def names(found):
    return [entry.name if isinstance(entry, Item) else None for entry in found]


def test_a_list_of_json_lines(folder):
    path = write(folder, "# cats", "", GOOD, "   ", WHOLE, GOOD | {"answer": "Yes."})
    plain, whole, answered = read_list(path)
    assert plain == Item(plain.name, "line 3", folder / "cat.jpg", GOOD["prompt"])
    assert whole == Item(
        name="first",
        place="line 5",
        image=folder / "cat.jpg",
        prompt=GOOD["prompt"],
        answer=(3, 1, 4),
        target=(0, 2),
        target_ids=(7, "No"),
        label="No",
        category="cat",
        boxes=((0, 1, 5, 9),),
        polygons=((0.0, 0.0, 5.5, 0.0, 5.0, 9.0),),
        mask=folder / "mask.png",
        runs=(0, 45),
        size=(9, 5),
    )
    assert (answered.place, answered.answer) == ("line 6", "Yes.")


def test_images_are_relative_to_a_folder_or_to_the_list(folder):
    (folder / "lists").mkdir()
    path = write(folder / "lists", GOOD, {**GOOD, "image": str(folder / "dog.jpg")})
    missing, absolute = read_list(path)
    assert isinstance(missing, Broken) and "cat.jpg: no such image file" in missing.reason
    assert absolute.image == folder / "dog.jpg"
    found = read_list(path, images=folder / "more")
    assert found[0].image == folder / "more" / "cat.jpg"
    with pytest.raises(InputError, match="no such folder of images"):
        read_list(path, images=folder / "nowhere")


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"prmopt": "x"}, "unknown field 'prmopt'; known fields: image, prompt, answer"),
        ({"image": None}, "the field 'image' is missing"),
        ({"image": 3}, "'image' must be text, not 3"),
        ({"image": "bird.jpg"}, "bird.jpg: no such image file"),
        ({"image": "more"}, "more: no such image file"),
        ({"image": "cat\0.jpg"}, "holds a NUL character"),
        ({"image": "x" * 5000}, "no such image file"),
        ({"prompt": " \n"}, "'prompt' is empty"),
        ({"prompt": ["a"]}, """'prompt' must be text, not ["a"]"""),
        ({"prompt": "\ud800"}, "'prompt' is not valid Unicode text"),
        ({"answer": ""}, "'answer' is empty"),
        ({"answer": []}, "'answer' is empty"),
        ({"answer": [1, True]}, "'answer' must be a list of whole numbers, not [1, true]"),
        ({"answer": [2**31]}, "'answer' must be a list of whole numbers"),
        ({"answer": 3}, "'answer' must be text or a list of whole numbers, not 3"),
        ({"target": [-1]}, "'target' must be a list of whole numbers, not [-1]"),
        ({"target": [1, 1]}, "'target' repeats a position"),
        (
            {"answer": [5, 6], "target": [2]},
            "'target' has the position 2, but the answer has 2 tokens",
        ),
        ({"target": {}}, "'target' must be text or a list of whole numbers, not {}"),
        ({"target_ids": [1.5]}, "'target_ids' must be a list of whole numbers, not [1.5]"),
        ({"target_ids": 3}, "'target_ids' must be token ids or words, not 3"),
        (
            {"target": [0, 1], "target_ids": "No"},
            "'target_ids' has 1 entries for 2 target positions",
        ),
        ({"label": "maybe"}, """'label' must be "Yes" or "No", not "maybe\""""),
        ({"boxes": [1, 2, 3, 4]}, "'boxes' must hold x0, y0, x1, y1 in whole pixels, not 1"),
        ({"boxes": [[9, 1, 5, 9]]}, "its corners are swapped: [9, 1, 5, 9]"),
        ({"boxes": [[5, 1, 5, 9]]}, "'boxes' holds an empty box"),
        ({"boxes": [[5, 9, 6, 9]]}, "'boxes' holds an empty box"),
        ({"boxes": [[0, 0, 1.5, 2]]}, "'boxes' must hold x0, y0, x1, y1 in whole pixels"),
        ({"polygons": [[1, 2, 3, 4]]}, "'polygons' holds a polygon of 4 numbers"),
        ({"polygons": [[1, 2, 3, 4, 5, "6"]]}, "'polygons' must hold lists of numbers"),
        ({"polygons": "x"}, "'polygons' must be a list of polygons"),
        ({"runs": [1, 1]}, "'runs' need the field 'size'"),
        ({"runs": [1, 1], "size": [3, 3]}, "'runs' holds 2 pixels, but its size is 3 x 3"),
        ({"size": [3]}, "'size' must hold width and height, not [3]"),
        ({"size": [3, 0]}, "'size' is 3 x 0"),
        ({"mask": "nowhere.png"}, "nowhere.png: no such image file"),
        ({"name": "a/b"}, "'name' must be a plain file name"),
        ({"name": ".."}, "'name' must be a plain file name"),
        ({"name": "x" * 181}, "'name' must be a plain file name of at most 180 bytes"),
    ],
)
def test_what_is_wrong_with_an_entry(folder, change, reason):
    bad, good = read_list(write(folder, GOOD | change, GOOD))
    assert isinstance(bad, Broken) and bad.place == "line 1"
    assert reason in bad.reason and "\n" not in bad.reason
    assert good.name == "cat"


@pytest.mark.parametrize(
    "line, reason",
    [
        (b'{"image": "cat.jpg", "prompt"}', "not valid JSON: Expecting ':' delimiter at"),
        (b'{"image": "cat.jpg", "prompt": "\xff"}', "not UTF-8 text"),
        (b"[1, 2]", "the entry must be a JSON object, not [1, 2]"),
        (b"[" * 100_000, "brackets are nested too deep"),
        (b'{"prompt": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"image": "cat.jpg", "image": "dog.jpg"}', "the field 'image' appears twice"),
        (b"[", "not valid JSON"),
    ],
)
def test_lines_that_are_no_entry(folder, line, reason):
    path = folder / "list.jsonl"
    good = json.dumps(GOOD).encode()
    for content in (line + b"\r\n" + good, good + b"\n\n" + line):
        path.write_bytes(content)
        found = read_list(path)
        (bad,) = [entry for entry in found if isinstance(entry, Broken)]
        assert reason in bad.reason and "\n" not in bad.reason
        assert bad.place == ("line 1" if content.startswith(line) else "line 3")
        assert sorted(map(str, names(found))) == ["None", "cat"]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "holds no entries"),
        (b"\n# nothing\n", "holds no entries"),
        (b"[]", "holds no entries"),
        (b"hello", "is not a list of questions: none of its lines is a JSON object"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not a list of questions"),
        (
            b'[{"image_path": "a.jpg",\n  "ids": [1,\n',
            "not valid JSON: Expecting value at line",
        ),
        (b"[1, 2]", "is not in a known format: its entries have no JSON objects"),
        (b'{"a": 1, "b": 2}', "is not in a known format: its entries have the fields a, b"),
    ],
)
def test_files_that_are_no_list(folder, content, reason):
    path = folder / "list.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_list(path)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


def test_files_that_are_not_there(folder):
    for path in (folder / "nowhere.jsonl", folder, "a\0b"):
        with pytest.raises(InputError, match="cannot read the list|without NUL characters"):
            read_list(path)
    with pytest.raises(InputError, match="format is 'x'; it must be one of lines, caption"):
        read_list(write(folder, GOOD), format="x")


def test_a_field_that_every_entry_misspells_is_named(folder):
    (bad,) = read_list(write(folder, {"image": "cat.jpg", "promt": "x"}))
    assert bad.reason.startswith("unknown field 'promt'")


def test_a_kind_can_be_forced(folder):
    (bad,) = read_list(write(folder, GOOD), format="caption")
    assert bad == Broken("line 1", "the field 'image_path' is missing")


def test_names_are_unique_and_outlive_changes_elsewhere(folder):
    other = GOOD | {"prompt": "Describe the image."}
    third = GOOD | {"image": "more/cat.jpg"}
    dog = GOOD | {"image": "dog.jpg"}
    found = read_list(write(folder, GOOD, other, third, dog))
    first = names(found)
    assert first[3] == "dog" and len(set(first)) == 4
    assert all(name.startswith("cat-") for name in first[:3])
    # Broken neighbours, comments and another order change no name.
    broken = GOOD | {"target": [-1]}
    found = read_list(write(folder, broken, "#", dog, "{", third, GOOD, broken, other))
    assert names(found) == [None, "dog", None, first[2], first[0], None, first[1]]


def test_a_name_never_passes_to_another_question(folder):
    broken, other = GOOD | {"target": [-1]}, GOOD | {"prompt": "Describe the image."}
    before = read_list(write(folder, broken, other))
    after = read_list(write(folder, GOOD, other))
    assert before[1].name == "cat" and "cat" not in names(after)


def test_names_that_the_list_gives(folder):
    found = read_list(
        write(
            folder,
            GOOD,
            GOOD | {"name": "cat", "prompt": "Describe the image."},
            GOOD | {"name": "twice"},
            GOOD | {"name": "Twice"},
        )
    )
    assert found[0].name.startswith("cat-") and found[1].name == "cat"
    assert found[2] == Broken(
        "line 3", "the name 'twice' is given to 2 entries; give each its own"
    )
    assert isinstance(found[3], Broken)


def test_a_repeated_question_is_refused_once(folder):
    found = read_list(write(folder, GOOD, GOOD, GOOD | {"name": "again"}))
    assert names(found) == ["cat", None, "again"]
    assert found[1].reason.startswith("the entry repeats line 1")


@pytest.mark.parametrize("image", [".hidden.jpg", "a:b.jpg", "x" * 200 + ".jpg", "é" * 110])
def test_stems_that_are_no_names(folder, image):
    (folder / image).write_bytes(b"")
    (item,) = read_list(write(folder, GOOD | {"image": image}))
    again = write(folder, GOOD | {"image": image, "name": item.name})
    assert names(read_list(again)) == [item.name]


def test_a_list_with_a_tenth_of_its_entries_broken(folder):
    draw = random.Random(0)
    bad = ["{", '{"image": 1}', json.dumps(GOOD | {"image": "x.jpg"}), "[]", '"', "\\", "null"]
    good = [json.dumps(GOOD | {"prompt": f"Question {n}?"}) for n in range(90)]
    entries = good + [draw.choice(bad) for _ in range(10)]
    draw.shuffle(entries)
    found = read_list(write(folder, *entries))
    assert len(found) == 100
    for number, (entry, line) in enumerate(zip(found, entries, strict=True), 1):
        assert entry.place == f"line {number}"
        assert isinstance(entry, Item if line in good else Broken)
    asked = {e.prompt: e.name for e in found if isinstance(e, Item)}
    clean = read_list(write(folder, *good))
    assert {e.prompt: e.name for e in clean} == asked


def test_written_lists_read_back(folder):
    items = read_list(write(folder, WHOLE, GOOD | {"image": "dog.jpg", "prompt": "Où ?"}))
    for path in (folder / "new.jsonl", folder / "deep" / "er" / "new.jsonl"):
        write_list(path, items)
        again = read_list(path)
        assert again == [
            Item(**(vars(item) | {"place": f"line {n}"})) for n, item in enumerate(items, 1)
        ]
    assert json.loads((folder / "new.jsonl").read_text().splitlines()[0])["image"] == "cat.jpg"
    assert not [path for path in folder.rglob(".*")]
    (folder / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_list(folder / "file" / "new.jsonl", items)


def only_items_and_reasons(path, **options):
    try:
        found = read_list(path, **options)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for entry in found:
        assert isinstance(entry, Item | Broken)
        if isinstance(entry, Broken):
            assert entry.reason and "\n" not in entry.reason
    held = [entry.name for entry in found if isinstance(entry, Item)]
    assert len(set(held)) == len(held)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*WHOLE, "x"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=st.lists(st.tuples(st.sampled_from(sorted(WHOLE)), values), max_size=3))
def test_any_value_of_any_field_gives_an_item_or_a_reason(folder, entries):
    found = write(folder, WHOLE, *[WHOLE | {"name": None} | {k: v} for k, v in entries])
    only_items_and_reasons(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=80) | values.map(lambda v: json.dumps(v).encode()))
def test_any_content_gives_items_reasons_or_one_line(folder, content):
    path = folder / "list.jsonl"
    path.write_bytes(content)
    only_items_and_reasons(path)
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + content)
    only_items_and_reasons(path)


PUBLISHED = {
    "image_path": "cat.jpg",
    "image_filename": "cat.jpg",
    "image_name": "cat.jpg",
    "question": "Is there a cat?",
    "label": "no",
    "id": 1,
    "generated_ids": [[9, 9, 1, 2]],
    "words": ["a", ""],
    "selected_interpretation_token_id": [0],
    "selected_interpretation_token_word_id": [1],
    "counter_word_id": [5],
    "output_word_id": [1, 2],
    "select_category": "cat",
    "location": [0, 0, 5, 5],
    "segmentation": [[0, 0, 5, 5, 0, 5]],
    "target_generated_index": 0,
    "target_generated_id": 1,
    "index": "1",
    "image": "cat.jpg",
    "text": "Is there a cat?",
    "question_id": 3,
    "file_name": "cat.jpg",
    "category": "cat",
    "bbox": [0, 0, 5, 5],
    "width": 9,
    "height": 9,
    "coco_url": "http://host/train2017/cat.jpg",
    "answer": "yes",
    "image_source": "cat",
    "conversations": [{"from": "human", "value": "Is there a cat?"}],
    "messages": [{"role": "user", "content": [{"text": "Is there a cat?"}]}],
    "images": ["cat.jpg"],
}


@pytest.mark.parametrize("format", FORMATS)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(entries=st.lists(st.tuples(st.sampled_from(sorted(PUBLISHED)), values), max_size=3))
def test_any_value_of_any_published_field(folder, format, entries):
    path = folder / "list.json"
    path.write_text(json.dumps([PUBLISHED, *[PUBLISHED | {k: v} for k, v in entries]]))
    only_items_and_reasons(path, format=format)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    one=values,
    name=st.sampled_from(
        "id image_id category_id caption file_name coco_url name segmentation bbox iscrowd "
        "width synset not_exhaustive_category_ids segments_info".split()
    ),
    categories=values,
)
def test_any_value_in_annotations_of_coco(folder, one, name, categories):
    good = {"id": 1, "file_name": "cat.jpg"}, {"image_id": 1, "category_id": 1, "bbox": [1] * 4}
    named = [{"id": 1, "name": "cat"}, {"id": 1} | {name: one}]
    document = {
        "images": [good[0], one, good[0] | {name: one}],
        "annotations": [good[1], one, good[1] | {name: one}],
        "categories": categories if name == "name" else named,
    }
    path = folder / "list.json"
    path.write_text(json.dumps(document))
    only_items_and_reasons(path)
