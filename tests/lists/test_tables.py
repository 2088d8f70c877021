"""Tables and files of JSON lines whose fields have names of their own."""

import json
import sys

import pytest

from eagle_jax import InputError
from eagle_jax.commands.arguments import add_list_format_arguments
from eagle_jax.lists import Broken, Item, read_list

COLUMNS = "image=path,prompt=question,label=answer"
ROWS = [
    {"id": 7, "path": "cat.jpg", "question": "Is it, a cat?", "answer": "yes"},
    {"id": 8, "path": "dog.jpg", "question": 'A "cat"?\nSay.', "answer": ""},
    {"id": 9, "path": "none.jpg", "question": "Where?", "answer": "no"},
]


@pytest.fixture
def folder(tmp_path):
    for name in ("cat.jpg", "dog.jpg"):
        (tmp_path / name).write_bytes(b"not opened")
    return tmp_path


def csv_of(rows, delimiter, end="\n"):
    def quoted(cell):
        return '"' + str(cell).replace('"', '""') + '"'

    lines = [delimiter.join(rows[0]), *(delimiter.join(map(quoted, r.values())) for r in rows)]
    return end.join(lines) + end


def write(folder, content, name="list.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


def checked(found, folder, places):
    cat, dog, missing = found
    assert cat == Item("cat", places[0], folder / "cat.jpg", "Is it, a cat?", label="Yes")
    assert dog == Item("dog", places[1], folder / "dog.jpg", 'A "cat"?\nSay.')
    assert missing == Broken(places[2], f"{folder / 'none.jpg'}: no such image file")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    "delimiter, name", [(",", "l.csv"), (";", "l.csv"), ("\t", "l.tsv"), ("\t", "l.csv")]
)
def test_columns_of_a_table(folder, delimiter, name, encoding, end):
    path = write(folder, csv_of(ROWS, delimiter, end), name, encoding)
    checked(read_list(path, columns=COLUMNS), folder, ["line 2", "line 3", "line 5"])


@pytest.mark.parametrize("array", [True, False])
def test_columns_of_json(folder, array):
    text = json.dumps(ROWS) if array else "\n".join(map(json.dumps, ROWS))
    text = text.replace('""', "NaN")  # a missing value, as pandas writes it
    places = [f"{'entry' if array else 'line'} {n}" for n in (1, 2, 3)]
    columns = dict(pair.split("=") for pair in COLUMNS.split(","))
    checked(read_list(write(folder, text, "l.json"), columns=columns), folder, places)


def test_columns_of_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row | {"answer": row["answer"] or None, "image": {"bytes": b"x"}} for row in ROWS]
    path = folder / "list.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = read_list(path, columns=COLUMNS)
    checked(found, folder, ["row 1", "row 2", "row 3"])
    assert read_list(path, columns=COLUMNS + ",name=id")[0].name == "7"
    with pytest.raises(InputError, match="is not in a known format"):
        read_list(path)
    found = read_list(path, columns="image=image,prompt=question")
    assert "'image' holds an image itself" in found[0].reason
    damaged = path.read_bytes()[:-20]
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="cannot read the list") as raised:
        read_list(path)
    assert "\n" not in str(raised.value)


def test_pope_in_parquet_as_on_the_hub(folder):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"question_id": "1", "question": "Is it?", "answer": "yes", "image_source": "cat"}
    row |= {"image": {"bytes": b"x", "path": None}, "category": "random"}
    parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "l.parquet")
    (item,) = read_list(folder / "l.parquet")
    assert (item.name, item.label, item.place) == ("cat_1", "Yes", "row 1")


def test_parquet_without_pyarrow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(folder, "PAR1 and more", "l.parquet")
    with pytest.raises(InputError, match="is a Parquet file: pip install pyarrow to read it"):
        read_list(path)


def test_a_table_with_the_fields_of_a_list(folder):
    text = (
        "image,prompt,boxes,polygons,label\n"
        'cat.jpg,Where?,"[[0, 1, 2, 3]]","[[0, 0, 1, 0, 1, 1]]",\n'
        "dog.jpg,Where?,,,no\n"
        'dog.jpg,Who?,"[[0, 1",,\n'
        "dog.jpg,Who?,2,,\n"
    )
    boxed, plain, cut, wrong = read_list(write(folder, text))
    assert (boxed.boxes, boxed.polygons) == (((0, 1, 2, 3),), ((0, 0, 1, 0, 1, 1),))
    assert (plain.boxes, plain.label) == ((), "No")
    assert cut.place == "line 4" and "'boxes' is not a valid list" in cut.reason
    assert wrong.reason == """'boxes' must be a list of boxes, not "2\""""


@pytest.mark.parametrize(
    "columns, reason",
    [
        ("image", "columns has 'image'; write image=path,prompt=question"),
        ("", "columns has ''"),
        ("image=,prompt=question", "columns has 'image'"),
        ("picture=path", "a field of columns is 'picture'; it must be one of image, prompt"),
        ("image=path,image=id", "columns has the field 'image' twice"),
        (
            "image=file,prompt=question",
            "has no column 'file'; it has id, path, question, answer",
        ),
        ("image=path", "has no column 'prompt'"),
        ({"image": " "}, "columns has 'image'"),
    ],
)
def test_columns_that_cannot_be_used(folder, columns, reason):
    path = write(folder, csv_of(ROWS, ","))
    with pytest.raises(InputError) as raised:
        read_list(path, columns=columns)
    assert reason in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(InputError, match="columns cannot go with the format 'mmvp'"):
        read_list(path, format="mmvp", columns=COLUMNS)


def test_rows_that_are_no_entry(folder):
    text = 'path,question\ncat.jpg,Where?\ncat.jpg\n\ncat.jpg,a,b\ndog.jpg,\ndog.jpg,"open\nx'
    found = read_list(write(folder, text), columns="image=path,prompt=question")
    assert [entry.place for entry in found] == [f"line {n}" for n in (2, 3, 5, 6, 7)]
    assert [isinstance(entry, Item) for entry in found] == [True] + [False] * 4
    assert found[3].reason == "the field 'prompt' is missing"
    assert "not a valid row" in found[4].reason
    with pytest.raises(InputError, match="the column 'a' appears twice"):
        read_list(write(folder, "a,a\n1,2\n"))


def test_a_row_in_latin_1_is_named(folder):
    path = write(folder, "path,question\ncat.jpg,O\xf9?\ndog.jpg,Where?\n", encoding="latin-1")
    broken, item = read_list(path, columns="image=path,prompt=question")
    assert broken == Broken("line 2", """'prompt' is not valid Unicode text: "O\\udcf9?\"""")
    assert item.name == "dog"


def test_columns_of_unknown_tables_are_asked_for(folder):
    with pytest.raises(InputError, match="the fields id, path, question, answer; .*--columns"):
        read_list(write(folder, csv_of(ROWS, ",")))


def test_the_command_line(folder):
    import argparse

    parser = argparse.ArgumentParser()
    add_list_format_arguments(parser)
    options = parser.parse_args(["--columns", COLUMNS, "--format", "lines"])
    assert (options.columns, options.format) == (COLUMNS, "lines")
    assert parser.parse_args([]).columns is None
