"""Paths that users give: what is no path of this machine is named in one line."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eagle_jax
from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.files import local_path, write_file
from eagle_jax.inputs.images import read_image

CLOUD = ("gs", "s3", "hf", "abfs", "abfss", "az", "hdfs", "S3A", "wasbs", "strange+one")


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def line(act):
    with pytest.raises(InputError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 320
    return text


def test_paths_of_this_machine(home):
    here = Path.cwd()
    for text, expected in {
        "~/cat.png": home / "cat.png",
        "~": home,
        f"file://{home}/a%20b.png": home / "a b.png",
        f"file:{home}/a.png": home / "a.png",
        f"FILE://localhost{home}/a.png": home / "a.png",
        "file://~/a.png": home / "a.png",
        "C:/a.png": Path("C:/a.png"),
        "my:/a.png": Path("my:/a.png"),
        "storybook:words:5": Path("storybook:words:5"),
        "a:b//c.png": Path("a:b/c.png"),
    }.items():
        assert local_path(text) == expected
        if "file:" not in text.lower():
            assert local_path(Path(text)) == expected
    assert local_path("a.png", here) == here / "a.png"
    assert local_path(Path(f"file://{home}/a.png")) == home / "a.png"


@pytest.mark.parametrize("scheme", CLOUD)
def test_cloud_paths_are_refused_wherever_a_path_enters(scheme, home):
    text = f"{scheme}://bucket/run"
    known = "+" not in scheme
    acts = [
        lambda: local_path(text),
        lambda: read_image(text),
        lambda: eagle_jax.plan(text),
        lambda: eagle_jax.lists.read_list(text),
        lambda: eagle_jax.evaluate(text),
        lambda: eagle_jax.run_list([], text),
        lambda: eagle_jax.Attribution.load(text),
        lambda: write_file(text, b""),
    ]
    if scheme != "hf":  # which names a model by its hub id
        acts.append(lambda: eagle_jax.load(text))
    # A single slash is left of the path where it was a `Path` before.
    acts += [lambda: local_path(Path(text)), lambda: read_image(Path(text))] if known else []
    for act in acts:
        said = line(act)
        assert f"{scheme.lower()}://bucket/run" in said
        assert "is a URL" in said if scheme == "hf" else "mount the bucket" in said
    assert os.listdir() == []


def test_urls_are_named(home):
    for url in ("https://host.example/cat.jpg", "http://host/a", "ftp://host/a"):
        for path in (url, Path(url)):
            assert f"{url} is a URL: download it first" in line(
                lambda path=path: read_image(path)
            )
    said = line(lambda: eagle_jax.load("https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct"))
    assert said.endswith("give its id, Qwen/Qwen2.5-VL-3B-Instruct")
    assert "another machine" in line(lambda: local_path("file://host/share/a.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the path is empty"),
        ("x" * 300, "File name too long"),
        ("a/" * 3000, "File name too long"),
        ("a\0b", "NUL character"),
        ("file:///a%00b", "NUL character"),
        ("data:image/png;base64,AAAA", "is a data URI"),
    ],
    ids=lambda value: str(value)[:12].encode("ascii", "replace").decode().replace("\0", "0"),
)
def test_names_that_the_system_refuses(text, message, home):
    assert message in line(lambda: local_path(text))
    if not text.startswith("data:"):
        assert message in line(lambda: read_image(text))


def test_a_lone_surrogate_is_in_no_name(home):
    assert "is not valid Unicode" in line(lambda: local_path("a\ud800b"))
    assert "without lone surrogates" in line(lambda: read_image("a\ud800b"))


def test_bytes_that_are_no_text_may_be_a_name(home):
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (2, 1), "red").save(name)
    assert read_image(name).shape == (1, 2, 3)


def test_folders_that_may_not_be_read(home, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "lstat", refuse)
    assert "a.png: Permission denied" in line(lambda: read_image("a.png"))


def test_home_is_expanded_everywhere(home):
    pixels = np.full((8, 8, 3), 200, np.uint8)
    Image.fromarray(pixels).save(home / "cat.png")
    np.testing.assert_array_equal(read_image("~/cat.png"), pixels)
    np.testing.assert_array_equal(read_image(Path("~/cat.png")), pixels)
    np.testing.assert_array_equal(read_image(f"file://{home}/cat.png"), pixels)
    (home / "list.jsonl").write_text('{"image": "cat.png", "prompt": "Is there a cat?"}\n')
    assert len(eagle_jax.lists.read_list("~/list.jsonl", "~")) == 1
    write_file("~/new/file.txt", "text")
    assert (home / "new" / "file.txt").read_text() == "text"
    assert os.listdir() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "--out", "gs://b/run"),
        ("explain", "gs://b/a.png", "--prompt", "x"),
        ("explain", "--model", "s3://b/m"),
        ("explain", "--fill", "s3://b/a.png"),
        ("diagnose", "--out", "abfs://b/run"),
        ("run", "gs://b/list.jsonl", "--out", "x"),
        ("run", "list.jsonl", "--images", "gs://b/val", "--out", "x"),
        ("build", "list.jsonl", "--out", "gs://b/new.jsonl"),
        ("compare", "list.jsonl", "--out", "gs://b/c"),
        ("evaluate", "gs://b/run"),
        ("evaluate", "run", "--json", "gs://b/m.json"),
        ("report", "gs://b/run"),
        ("report", "run", "--out", "gs://b/r.html"),
        ("export", "run", "--out", "gs://b/e"),
        ("convert", "demo", "gs://b/m"),
        ("convert", "gs://b/m", "x"),
        ("plan", "--model", "gs://b/m"),
    ],
    ids=" ".join,
)
def test_commands_refuse_cloud_paths_in_one_line(arguments, home, capsys):
    assert cli.main([*arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "is not on this machine: mount the bucket" in err
    assert os.listdir() == []
