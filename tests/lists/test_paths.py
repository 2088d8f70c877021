"""Names of images and lists as people write them, and files in other encodings."""

import base64
import codecs
import json

import pytest

from eagle_jax import InputError
from eagle_jax.lists import Broken, Item, read_list

GOOD = {"image": "cat.jpg", "prompt": "Is there a cat?"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("cat.jpg", "more/a b.jpg", "more/a%20c.jpg", "odd\\name.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not opened")
    return tmp_path


def write(folder, *entries):
    path = folder / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)))
    return path


def entry(folder, image):
    found = read_list(write(folder, GOOD, GOOD | {"image": image, "prompt": "Where?"}))
    assert isinstance(found[0], Item)
    return found[1]


@pytest.mark.parametrize(
    "image, read",
    [
        ("~/cat.jpg", "cat.jpg"),
        ("file://HOME/cat.jpg", "cat.jpg"),
        ("file:HOME/cat.jpg", "cat.jpg"),
        ("FILE://localhostHOME/more/a%20b.jpg", "more/a b.jpg"),
        ("more\\a b.jpg", "more/a b.jpg"),
        (".\\more\\\\a b.jpg", "more/a b.jpg"),
        ("more/a%20c.jpg", "more/a%20c.jpg"),
        ("odd\\name.jpg", "odd\\name.jpg"),
        ("./more/../cat.jpg", "cat.jpg"),
    ],
)
def test_names_of_images(folder, image, read):
    found = entry(folder, image.replace("HOME", str(folder)))
    assert isinstance(found, Item), found
    assert found.image.samefile(folder / read)


@pytest.mark.parametrize(
    "image, reason",
    [
        ("https://host.example/cat.jpg", "https://host.example/cat.jpg is a URL: download it"),
        ("HTTP://host.example/cat.jpg", "is a URL: download it first"),
        ("https:/host.example/cat.jpg", "is a URL: download it first"),
        ("s3://bucket/cat.jpg", "is not on this machine: mount the bucket"),
        ("gs:/bucket/cat.jpg", "is not on this machine: mount the bucket"),
        ("file://server/cat.jpg", "names another machine"),
        ("data:image/png;base64,iVBORw0KGgo=", "is a data URI, not a path; save it to a file"),
        ("data:image/png;base64," + "iVBO" * 50_000, "is a data URI"),
        (base64.b64encode(bytes(9000)).decode(), "no such image file; if the text is an image"),
        ("C:\\data\\cat.jpg", "is a path of Windows"),
        ("D:/data/cat.jpg", "is a path of Windows"),
        ("~nobody-here/cat.jpg", "no such image file"),
        ("file://", "names another machine"),
        ("file://[", "names another machine"),
        ({"bytes": "x", "path": None}, "'image' holds an image itself"),
        ([["cat.jpg"]], "'image' must be text"),
    ],
)
def test_names_that_are_no_image(folder, image, reason):
    found = entry(folder, image)
    assert isinstance(found, Broken) and found.place == "line 2"
    assert reason in found.reason and len(found.reason) < 240 and "\n" not in found.reason


def test_lists_and_folders_of_images(folder):
    path = write(folder, GOOD, GOOD | {"image": "a b.jpg"})
    for given in ("~/list.jsonl", f"file://{path}", path):
        assert read_list(given)[0].image == folder / "cat.jpg"
    assert read_list(path, images="~/more")[1].image == folder / "more" / "a b.jpg"
    for bad in ("https://host.example/list.jsonl", "gs://bucket/list.jsonl"):
        with pytest.raises(InputError, match="is a URL: download it|is not on this machine"):
            read_list(bad)
        with pytest.raises(InputError, match="is a URL: download it|is not on this machine"):
            read_list(path, images=bad)


@pytest.mark.parametrize(
    "encoding, name",
    [
        ("utf-16", "is UTF-16 text: save it as UTF-8"),
        ("utf-32", "is UTF-32 text: save it as UTF-8"),
        ("utf-16-le", "seems to be UTF-16 text"),
        ("utf-16-be", "seems to be UTF-16 text"),
    ],
)
@pytest.mark.parametrize("array", [True, False])
def test_other_encodings_are_named(folder, encoding, name, array):
    path = folder / "list.json"
    path.write_bytes(json.dumps([GOOD] if array else GOOD).encode(encoding))
    with pytest.raises(InputError, match=name):
        read_list(path)
    path.write_bytes(codecs.BOM_UTF16_BE + json.dumps(GOOD).encode("utf-16-be"))
    with pytest.raises(InputError, match="is UTF-16 text"):
        read_list(path)


def test_latin_1_is_named_with_its_line(folder):
    path = folder / "list.json"
    lines = [json.dumps(GOOD), '{"image": "cat.jpg", "prompt": "O\xf9 ?"}']
    path.write_bytes("\n".join(lines).encode("latin-1"))
    found = read_list(path)
    assert isinstance(found[0], Item)
    assert found[1].place == "line 2" and "not UTF-8 text" in found[1].reason
    path.write_bytes(("[" + ",\n".join(lines) + "]").encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text in line 2: .*; save it as UTF-8"):
        read_list(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ends_of_lines(folder, end, mark):
    path = folder / "list.jsonl"
    other = GOOD | {"image": "~/cat.jpg", "prompt": "Where?"}
    text = mark + end.join([json.dumps(GOOD), "", json.dumps(other), ""])
    path.write_bytes(text.encode())
    assert [entry.place for entry in read_list(path)] == ["line 1", "line 3"]


@pytest.mark.parametrize(
    "content, reason",
    [
        ('[{"a": 1},\n {"b": 2},\n]', "a comma before the closing ] at line 3 column 1"),
        ('[{"a": 1,\n}]', "a comma before the closing } at line 2"),
        ('{"a": 1},\n{"b": 2},\n', "a comma behind the object at line 1 column 9"),
        ("[{'a': 1}\n]", "single quotation marks at line 1 column 3"),
        ("PK\x03\x04 table", "a spreadsheet or a ZIP archive: save the table as CSV"),
        ("\x1f\x8b list", "compressed by gzip: unpack it first"),
        ("version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        ("<!DOCTYPE html>", "a web page or XML"),
    ],
)
def test_what_is_wrong_with_a_file(folder, content, reason):
    path = folder / "list.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as raised:
        read_list(path)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "line, reason",
    [
        (json.dumps(GOOD) + ",", "a comma behind the object at column"),
        (json.dumps(GOOD)[:-1] + ",}", "a comma before the closing } at column"),
        ('{"image": "cat.jpg", "prompt": NaN}', "the field 'prompt' is missing"),
        ('{"image": "cat.jpg", "prompt": Infinity}', "'prompt' must be text, not Infinity"),
    ],
)
def test_what_is_wrong_with_a_line(folder, line, reason):
    path = folder / "list.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line)
    good, bad = read_list(path)
    assert isinstance(good, Item) and bad.place == "line 2" and reason in bad.reason


def test_nan_is_a_missing_value(folder):
    found = read_list(write(folder, GOOD | {"label": float("nan"), "boxes": float("nan")}))
    assert (found[0].label, found[0].boxes) == (None, ())
