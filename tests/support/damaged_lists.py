"""Lists of every format, with damage to their entries and to their files."""

import codecs
import copy
import csv
import io
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import damage

_PROMPT, _ANSWER = [151644, 872, 151655, 198], [785, 8251, 374, 151645]
_WHOLE = {
    "generated_ids": [_PROMPT + _ANSWER],
    "words": ["The", " cat", " is", ""],
    "selected_interpretation_token_id": [0, 1, 2, 3],
    "selected_interpretation_token_word_id": _ANSWER,
}
_MASK = {"counts": [10, 20, 51], "size": [9, 9]}
_TURNS = [
    {"from": "human", "value": "<image>\nIs it a cat?"},
    {"from": "gpt", "value": "Yes."},
]
# An entry of each format; the image is a file of the folder.
_ENTRIES: dict[str, dict[str, Any]] = {
    "lines": {
        "image": "1.jpg",
        "prompt": "Describe the image.",
        "answer": "A red cat.",
        "target": "cat",
        "label": "Yes",
        "category": "cat",
        "boxes": [[0, 0, 5, 5], [2, 2, 8, 9]],
        "polygons": [[0.5, 1, 5, 1, 3, 7.5]],
        "mask": "2.jpg",
        "size": [9, 9],
        "name": "one",
    },
    "lines of ids": {
        "image": "1.jpg",
        "prompt": " What? ",
        "answer": _ANSWER,
        "target": [1, 2],
        "target_ids": [5, "cat"],
        "runs": [10, 20, 51],
        "size": [9, 9],
    },
    "caption": {"image_path": "1.jpg", "gt_caption": ["A"]} | _WHOLE,
    "mmvp": {"image_filename": "1.jpg", "question": "Open? ", "answer": "a"} | _WHOLE,
    "repope": {
        "image_name": "1.jpg",
        "question": "Is there a cat in the image?",
        "label": "no",
        "generated_ids": [[*_PROMPT, 9454, 151645]],
        "selected_interpretation_token_id": [0],
        "selected_interpretation_token_word_id": [9454],
        "words": ["Yes", ""],
        "counter_word_id": [2753],
        "id": 101,
    },
    "object": {
        "image_path": "1.jpg",
        "generated_ids": _PROMPT + _ANSWER,
        "output_word_id": _ANSWER,
        "select_category": "cat",
        "location": [0, 3, 7, 8],
        "segmentation": [[0.5, 3, 7, 3.2, 4, 8]],
        "target_generated_index": 1,
        "target_generated_id": 8251,
    },
    "mmvp-questions": {"Index": "1", "Question": "Where?", "Options": "(a) x (b) y"},
    "repope-labels": {"question_id": 1, "image": "1.jpg", "text": "A cat?", "label": "no"},
    "pope-export": {"question_id": "1", "question": "A cat?", "answer": "no"}
    | {"image_source": "1", "category": "random"},
    "llava-questions": {"question_id": 7, "image": "1.jpg", "text": "<image>\nWhat is it?"},
    "llava-conversations": {"id": "x", "image": "1.jpg", "conversations": _TURNS},
    "messages": {
        "images": ["1.jpg"],
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "No"}]},
        ],
    },
}
_COCO: dict[str, dict[str, Any]] = {
    "captions": {
        "info": {},
        "licenses": [],
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in (1, 2, 3)
        ],
        "annotations": [{"id": n, "image_id": n, "caption": "A cat."} for n in (1, 2, 3)],
    },
    "objects": {
        "images": [
            {"id": 1, "file_name": "1.jpg", "width": 9, "height": 9},
            {"id": 2, "coco_url": "http://images/train/2.jpg", "width": 9, "height": 9},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 4, 5]}
            | {"segmentation": [[1.5, 1.2, 6.5, 1.2, 4, 7.7]], "area": 9},
            {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 0, "bbox": [2, 3, 4.6, 5]}
            | {"segmentation": _MASK},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": [0, 0, 3, 3]}
            | {"segmentation": {"counts": "2d0a05;1", "size": [9, 9]}},
            {"id": 4, "image_id": 2, "category_id": 3, "bbox": [0, 0, 3, 3]},
        ],
        "categories": [
            {"id": 1, "name": "cat"},
            {"id": 2, "name": "traffic light"},
            {"id": 3, "name": "bow_(weapon)", "synset": "bow.n.04"},
        ],
    },
}
_RENAMES = (
    *(("image", "image_path"), ("image", "img"), ("prompt", "question"), ("label", "answer")),
    *(("boxes", "bbox"), ("conversations", "messages"), ("from", "role"), ("id", "image_id")),
    *(("value", "content"), ("file_name", "coco_url"), ("segmentation", "polygons")),
    *(("question_id", "id"), ("image", "images"), ("counts", "size"), ("text", "question")),
)
_TEXTS = (
    *("../1.jpg", "/etc/passwd", "1.jpg\n", "C:\\a\\1.jpg", ".\\1.jpg", "file:///x.jpg", "~"),
    *("https://example.com/1.jpg", "data:image/png;base64,AAAA", "gs://b/1.jpg", "folder", "."),
    *("1.jpg\0", "x" * 300, "x/" * 3000, "\ud800.jpg", "<image>", "yes", "YES ", "maybe"),
    *("<|im_end|>", "\N{CAT FACE}", "[1, 2]", "{", "null", "[[1,2,3,4]]", "[" * 2000),
)


class Case(NamedTuple):
    """A damaged list.

    Attributes:
        path: The list.
        options: Further arguments of `read_list`.
        whole: Number of entries without damage at the begin and at the end, where the damage
            is to a single entry of a list of entries; else None.
        said: Format and damage.
    """

    path: Path
    options: dict[str, Any]
    whole: tuple[int, int] | None
    said: str


def make_folder(root: Path) -> Path:
    """The folder of the images, of 9 x 9 pixels."""
    from PIL import Image

    root.mkdir(parents=True, exist_ok=True)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        Image.new("RGB", (9, 9), (200, 30, 60)).save(root / name, "PNG")
    (root / "folder").mkdir(exist_ok=True)
    return root


def make_case(seed: int, folder: Path) -> Case:
    """The list of a seed, in a folder of `make_folder`."""
    rng = random.Random(f"list {seed}")
    if rng.random() < 0.25:
        kind = rng.choice([*_COCO])
        value, said = _damaged(rng, _COCO[kind])
        data, whole, suffix = _dumped(rng, value).encode(), None, ".json"
    else:
        kind = rng.choice([*_ENTRIES])
        data, whole, suffix, said = _entries(rng, kind)
    if rng.random() < 0.2:
        data, more = damage.damaged_bytes(rng, data)
        said, whole = f"{said}; {more}", None
    elif rng.random() < 0.15:
        data, more = _encoded(rng, data)
        said, whole = f"{said}; {more}", None
    options: dict[str, Any] = {}
    if rng.random() < 0.1:
        pairs = ("image=image", "image=image,prompt=question", {"prompt": "text"})
        options["columns"], whole = rng.choice(pairs), None
    elif rng.random() < 0.1:
        options["format"], whole = rng.choice(("lines", "caption", "coco-instances")), None
    path = folder / f"list-{seed}{suffix}"
    path.write_bytes(data)
    return Case(path, options, whole, f"{kind} {suffix}: {said}")


def _entries(rng: random.Random, kind: str) -> tuple[bytes, tuple[int, int] | None, str, str]:
    base = _ENTRIES[kind]
    entries: list[Any] = [_numbered(base, number) for number in range(3)]
    place = rng.randrange(3)
    entries[place], said = _damaged(rng, entries[place])
    form = rng.choice(("lines", "lines", "array", "table"))
    if form == "table":
        rows = [entry for entry in entries if isinstance(entry, dict)]
        return _table(rng, rows), None, rng.choice((".csv", ".tsv")), said
    if rng.random() < 0.1 and form == "lines":
        text = "\n".join(map(_json, entries))
        return text[: -rng.randrange(1, 40)].encode(), None, ".jsonl", f"{said}; cut"
    texts = [
        _dumped(rng, entry) if i == place else _json(entry) for i, entry in enumerate(entries)
    ]
    if form == "array":
        valid = texts[place] == _json(entries[place])
        whole = (place, 2 - place) if valid else None
        return f"[{', '.join(texts)}]".encode(), whole, ".json", said
    return "\n".join(texts).encode(), (place, 2 - place), ".jsonl", said


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _numbered(base: dict[str, Any], number: int) -> dict[str, Any]:
    """The entry with its own question, so that the entries do not repeat each other."""
    entry = copy.deepcopy(base)
    for name in ("prompt", "question", "text", "Question", "name"):
        if name in entry:
            entry[name] += f" {number}"
    if "image_path" in entry:
        entry["image_path"] = f"{number + 1}.jpg"
    if "conversations" in entry:
        entry["conversations"][0]["value"] += f" {number}"
    if "messages" in entry:
        entry["messages"][0]["content"][1]["text"] += f" {number}"
    return entry


def _damaged(rng: random.Random, value: Any) -> tuple[Any, str]:
    if rng.random() < 0.3:
        value = copy.deepcopy(value)
        texts = [path for path in damage.places(value) if isinstance(_at(value, path), str)]
        if texts:
            path = rng.choice(texts)
            _at(value, path[:-1])[path[-1]] = said = rng.choice(_TEXTS)
            return value, f"{path} {said[:20]!r}"
    if rng.random() < 0.1:
        return copy.deepcopy(rng.choice(damage.ODD)), "no entry"
    return damage.damaged_value(rng, value, _RENAMES)


def _at(value: Any, path: tuple) -> Any:
    for name in path:
        value = value[name]
    return value


def _dumped(rng: random.Random, value: Any) -> str:
    text = _json(value)
    kinds = [text] * 12
    if isinstance(value, dict) and value:
        name = next(iter(value))
        kinds.append(f"{text[:-1]}, {json.dumps(name)}: {_json(value[name])}}}")
    kinds += [text + ",", text.replace('"', "'"), f"# {text}", text[:-1], f"{text} {text}"]
    return rng.choice(kinds)


def _table(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=rng.choice((",", ";", "\t")))
    try:
        writer.writerow(names)
        for row in rows:
            texts = {str(name): value for name, value in row.items()}
            cells = [texts.get(name, "") for name in names]
            writer.writerow([c if isinstance(c, str) else _json(c) for c in cells])
    except csv.Error:
        pass
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _encoded(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    text = data.decode("utf-8", "replace")
    kinds = {
        "BOM": lambda: codecs.BOM_UTF8 + data,
        "UTF-16": lambda: text.encode("utf-16"),
        "UTF-16 without a mark": lambda: text.encode("utf-16-le"),
        "UTF-32": lambda: text.encode("utf-32"),
        "CRLF": lambda: data.replace(b"\n", b"\r\n"),
        "CR": lambda: data.replace(b"\n", b"\r"),
        "blank lines": lambda: data.replace(b"\n", b"\n\n \n"),
        "no-break space": lambda: b"\xc2\xa0" + data,
        "line separator": lambda: data.replace(b" ", "\u2028".encode(), 1),
    }
    kind = rng.choice([*kinds])
    return kinds[kind](), kind
