"""The command line: what it prints and writes, and one line for whatever cannot be used."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import zlib

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

import eagle_jax
from eagle_jax import Attribution, cli
from eagle_jax.commands import devices
from eagle_jax.results import storage
from eagle_jax.search.methods import SEARCHES, Search
from eagle_jax.search.rounds import Round, Solution
from eagle_jax.search.sets import ends
from eagle_jax.search.steps import Steps

FILES = ["arrays.npz", "attribution.json", "figure.png", "image.png"]
ASK = ("--prompt", "Is there a cat in the image?", "--regions", "grid:2x2")
ANSWER = ("--answer", "Yes, a cat.")


@pytest.fixture(scope="session")
def model(untied):
    return eagle_jax.load(untied)


@pytest.fixture
def place(tmp_path, monkeypatch, make_image):
    """An empty working folder with one picture in it."""
    monkeypatch.chdir(tmp_path)
    # The compilation cache is a setting of the whole process; a subprocess tests it.
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    Image.fromarray(make_image(1, 56, 56)).save("cat.png")
    return tmp_path


@pytest.fixture
def loaded(place, monkeypatch, model):
    """The command line, with the model in memory and a figure that costs nothing."""
    monkeypatch.setattr(eagle_jax, "load", lambda *_, **__: model)
    small = matplotlib.figure.Figure((1, 1))
    monkeypatch.setattr(Attribution, "plot", lambda self: small)
    return place


@pytest.fixture
def unloaded(place, monkeypatch):
    """The command line, where nothing may get as far as loading a model."""

    def load(*_, **__):
        raise AssertionError("the model is loaded although the input is unusable")

    monkeypatch.setattr(eagle_jax, "load", load)
    return place


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(folder, capsys, *arguments) -> str:
    """Runs bad input; returns the one line it must give."""
    before = everything(folder)
    assert cli.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("eagle-jax: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert everything(folder) == before
    return err


def png_header(width: int, height: int) -> bytes:
    data = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\1\0\0\0\0"
    check = zlib.crc32(data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + data + check + b"\0\0\1\0IDAT"


def test_explain_writes_a_folder_and_replaces_it(place, untied, capsys):
    arguments = ["explain", "cat.png", *ASK, *ANSWER, "--model", str(untied), "--out", "a/b"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split(maxsplit=1) == ["answer", "Yes, a cat."]
    assert [line.split()[0] for line in lines] == [
        *("answer", "regions", "2.", "3.", "image", "insertion", "deletion", "search"),
        *("cost", "device", "written"),
    ]
    assert "exact, chosen by auto" in lines[7]
    assert "20 forwards" in lines[8] and lines[10].split()[1] == "a/b/figure.png"
    first = Attribution.load("a/b")
    assert sorted(os.listdir("a/b")) == FILES and first.tokens == first.answer_tokens

    # The figure is drawn by now; what is left to see is the second result.
    target = ["--target", "Yes", "--target-id", "a", "--partitions", "2"]
    assert cli.main([*arguments, *target]) == 0
    second = Attribution.load("a/b")
    assert second.further_labels.shape == (1, *second.labels.shape)
    assert second.positions.tolist() == [0] and second.tokens == ("a",)
    assert everything(place) == sorted(["a", "a/b", "cat.png", *(f"a/b/{f}" for f in FILES)])


def test_nothing_at_all_prints_help(place, capsys):
    assert cli.main([]) == 0
    assert "example:" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"]])
def test_help_shows_an_example(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 0
    assert "  eagle-jax explain cat.jpg --prompt" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("missing.png", None, "no such image file"),
        ("", None, "the path is empty"),
        ("folder.png", "folder", "is a folder"),
        ("empty.png", b"", "the image file is empty"),
        ("text.png", b"This is not a picture.", "not an image file"),
        (
            "big.png",
            png_header(10_001, 10_000),
            "10001 x 10000 pixels are more than 100 megapixels",
        ),
        ("bomb.png", png_header(60_000, 60_000), "more than 100 megapixels"),
        ("two\nlines.png", None, "two lines.png: no such image file"),
    ],
    ids=["missing", "none", "folder", "empty", "text", "big", "bomb", "newline"],
)
def test_unusable_image(name, content, said, unloaded, capsys):
    if content == "folder":
        (unloaded / name).mkdir()
    elif content is not None:
        (unloaded / name).write_bytes(content)
    assert said in refused(unloaded, capsys, "explain", name, *ASK, *ANSWER)


def test_truncated_image(unloaded, capsys):
    whole = (unloaded / "cat.png").read_bytes()
    (unloaded / "cat.png").write_bytes(whole[: len(whole) // 2])
    assert "cannot read the image" in refused(unloaded, capsys, "explain", "cat.png", *ASK)


@pytest.mark.parametrize(
    "regions",
    ["", "many", "0", "-4", "2.5", "grid:", "grid:0x3", "grid:3x", "felzenszwalb:9", "٣"],
)
def test_nonsense_regions(regions, unloaded, capsys):
    said = refused(
        unloaded, capsys, "explain", "cat.png", "--prompt", "x", f"--regions={regions}"
    )
    assert "it must be a number, 'slico:64', 'grid:8x8'" in said


@pytest.mark.parametrize("regions", ["3137", "grid:57x1", "grid:1x57", "slico:99999999999"])
def test_more_regions_than_pixels(regions, unloaded, capsys):
    said = refused(
        unloaded, capsys, "explain", "cat.png", "--prompt", "x", "--regions", regions
    )
    assert "56 x 56 pixels" in said


def test_default_regions_of_one_pixel(unloaded, capsys):
    Image.new("RGB", (1, 1)).save("dot.png")
    said = refused(unloaded, capsys, "explain", "dot.png", "--prompt", "x")
    assert "64 regions requested, but the image has only 1 x 1 pixels" in said


@pytest.mark.parametrize(
    "out, said",
    [
        ("notes.txt", "it is a file"),
        ("notes.txt/deeper", "Not a directory"),
        ("photos", "holds other files"),
        ("/proc/none", "nothing can be written in /proc"),
        ("n" * 300, "name too long"),
    ],
)
def test_out_is_refused_before_anything_is_done(out, said, unloaded, capsys):
    (unloaded / "notes.txt").write_text("mine")
    (unloaded / "photos").mkdir()
    (unloaded / "photos" / "me.png").write_bytes(b"mine")
    assert said in refused(unloaded, capsys, "explain", "cat.png", *ASK, "--out", out)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("explain", "cat.png"), "--prompt is missing"),
        (("explain", "cat.png", *ASK, "--batch-size", "0"), "--batch-size"),
        (("explain", "cat.png", *ASK, "--batch-size", "two"), "--batch-size"),
        (("explain", "cat.png", *ASK, "--search", "psychic"), "--search"),
        (("explain", "cat.png", *ASK, "--partitions", "0"), "--partitions"),
        (("explain", "cat.png", *ASK, "--partitions", "6"), "it must be from 1 to 5"),
        (("explain", "cat.png", *ASK, "--dtype", "int8"), "--dtype"),
        (("explain", "cat.png", *ASK, "--answer"), "--answer"),
        (("explain", "cat.png", *ASK, "--answer", "\udcff"), "not valid UTF-8"),
        (("explain", "cat.png", "dog.png", *ASK), "dog.png"),
        (("explain", "--no-such-option"), "--no-such-option"),
        (("explian",), "explian"),
    ],
)
def test_wrong_arguments(arguments, said, unloaded, capsys):
    assert said in refused(unloaded, capsys, *arguments)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--prompt", "", *ANSWER), "the prompt is empty"),
        (("--prompt", " \n", *ANSWER), "the prompt is empty"),
        (("--prompt", "<|image_pad|>", *ANSWER), "special token <|image_pad|>"),
        (("--prompt", "x", "--answer", " "), "the answer is empty"),
        (
            ("--prompt", "x", *ANSWER, "--target", "dog"),
            "the answer's tokens are 0 'Yes', 1 ','",
        ),
        (("--prompt", "x", *ANSWER, "--target", ""), "the answer's tokens are 0 'Yes', 1 ','"),
        (("--prompt", "x", *ANSWER, "--target-id", "No"), "give one token id or word for each"),
        (
            ("--prompt", "x", *ANSWER, "--target", "Yes", "--target-id", "quickly"),
            "'quickly' is not a single token in place of 'Yes'",
        ),
    ],
)
def test_texts_the_model_cannot_be_asked(arguments, said, loaded, capsys):
    assert said in refused(loaded, capsys, "explain", "cat.png", "--regions=4", *arguments)


def test_image_too_long_for_the_model(loaded, capsys):
    Image.new("RGB", (201, 1)).save("line.png")
    said = refused(loaded, capsys, "explain", "line.png", *ANSWER, "--prompt=x", "--regions=1")
    assert "201 x 1 pixels" in said


def grey_ramp(dtype, top):
    return np.linspace(0, top, 56 * 56).reshape(56, 56).astype(dtype)


def save_turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey_ramp(np.uint8, 255)).save(path, exif=exif)


MAKERS = {
    "grey.png": lambda p: Image.fromarray(grey_ramp(np.uint8, 255)).save(p),
    "bilevel.png": lambda p: Image.fromarray(grey_ramp(np.uint8, 255)).convert("1").save(p),
    "palette.png": lambda p: Image.fromarray(grey_ramp(np.uint8, 255)).convert("P").save(p),
    "frames.gif": lambda p: Image.fromarray(grey_ramp(np.uint8, 255)).save(p),
    "rgba.png": lambda p: Image.new("RGBA", (56, 56), (9, 99, 199, 128)).save(p),
    "cmyk.jpg": lambda p: Image.new("CMYK", (56, 56), (9, 99, 199, 20)).save(p),
    "deep.png": lambda p: Image.fromarray(grey_ramp(np.uint16, 65535)).save(p),
    "turned.jpg": save_turned,
}


@pytest.mark.parametrize("name", MAKERS)
def test_any_kind_of_image_works(name, loaded, capsys):
    MAKERS[name](name)
    assert cli.main(["explain", name, *ASK, *ANSWER, "--out", "out"]) == 0
    assert capsys.readouterr().err == ""
    pixels = Attribution.load("out").image.astype(int)
    assert pixels.shape == (56, 56, 3)
    if name in ("grey.png", "deep.png"):
        assert abs(pixels[..., 0] - grey_ramp(float, 255)).max() <= 1
    if name == "turned.jpg":
        assert abs(pixels[..., 0] - np.rot90(grey_ramp(float, 255), -1)).max() <= 8
    if name == "rgba.png":
        assert abs(pixels[0, 0] - [132, 177, 227]).max() <= 1


def test_one_pixel_is_an_image(loaded, capsys):
    Image.new("RGB", (1, 1), (9, 99, 199)).save("dot.png")
    arguments = ["explain", "dot.png", "--prompt=x", "--answer=Yes", "--regions=1"]
    assert cli.main([*arguments, "--out", "out"]) == 0
    found = Attribution.load("out")
    assert found.image.tolist() == [[[9, 99, 199]]] and found.order.tolist() == [0]
    assert "region 0, 100.0% of the image" in capsys.readouterr().out


def test_an_empty_prompt_is_not_replaced_by_the_bundled_one(loaded, capsys, monkeypatch):
    monkeypatch.setattr(eagle_jax.demo, "IMAGE", loaded / "cat.png")
    assert "the prompt is empty" in refused(loaded, capsys, "explain", "--prompt", "")


def test_interrupted_search_writes_nothing(loaded, capsys, monkeypatch):
    def search(problem):
        raise KeyboardInterrupt

    monkeypatch.setitem(SEARCHES, "auto", Search(search, "interrupted"))
    assert cli.main(["explain", "cat.png", *ASK, *ANSWER, "--out", "a/b"]) == 130
    assert capsys.readouterr().err == "eagle-jax: interrupted, nothing was written\n"
    assert everything(loaded) == ["cat.png"]


def test_an_interrupted_search_writes_what_was_found(loaded, capsys, monkeypatch):
    def search(problem):
        steps = Steps(problem, *(yield Round(ends(problem.regions))))
        # An interrupt before the scores of the first round would end the command at once.
        yield Round(ends(problem.regions))
        signal.raise_signal(signal.SIGINT)
        assert (yield Round(ends(problem.regions))) is None
        return Solution(steps.curves)

    monkeypatch.setitem(SEARCHES, "auto", Search(search, "interrupted"))
    assert cli.main(["explain", "cat.png", *ASK, *ANSWER, "--out", "out"]) == 130
    out, err = capsys.readouterr()
    assert "cut short by an interrupt after 0 of " in out
    assert err == "eagle-jax: interrupted; this is the partial result\n"
    assert Attribution.load("out").order.size == 0


def test_a_full_device_names_the_batch_size(loaded, capsys, monkeypatch):
    def search(problem):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")

    monkeypatch.setitem(SEARCHES, "auto", Search(search, "too large"))
    assert cli.main(["explain", "cat.png", *ASK, *ANSWER, "--out", "a/b"]) == 2
    assert "give a smaller --batch-size" in capsys.readouterr().err
    assert everything(loaded) == ["cat.png"]


def test_interrupted_writing_leaves_what_was_there(loaded, monkeypatch):
    arguments = ["explain", "cat.png", *ASK, *ANSWER, "--out", "out"]
    assert cli.main(arguments) == 0
    before = Attribution.load("out")
    write = storage.Path.write_bytes

    def interrupt(path, content):
        write(path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.Path, "write_bytes", interrupt)
    assert cli.main([*arguments, "--target", "cat"]) == 130
    assert everything(loaded) == sorted(["cat.png", "out", *(f"out/{name}" for name in FILES)])
    assert Attribution.load("out") == before


def start(place, *arguments, **streams):
    home = {"XDG_CACHE_HOME": str(place / "cache"), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "eagle_jax.cli", *map(str, arguments)]
    environment = os.environ | home
    # The program's own place for compilations, not that of the tests.
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    return subprocess.Popen(command, cwd=place, env=environment, **streams)


def read_terminal(number):
    with open(number, "rb", buffering=0) as terminal:
        # Linux ends a terminal that nobody writes to any more by an error.
        with contextlib.suppress(OSError):
            while piece := terminal.read(1000):
                yield piece


def test_a_bad_path_in_a_process_of_its_own(place):
    process = start(place, "explain", "no.png", *ASK, stdout=-1, stderr=-1)
    assert process.communicate(timeout=300) == (b"", b"eagle-jax: no.png: no such image file\n")
    assert process.returncode == 2


def test_no_place_for_compilations_is_no_error(monkeypatch):
    import jax

    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    before = jax.config.jax_compilation_cache_dir
    devices.cache_compilations()
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.slow
def test_processes_of_their_own(place, untied):
    asked = (
        "explain",
        "cat.png",
        *ASK,
        "--answer",
        "Yes, a caf\N{LATIN SMALL LETTER E WITH ACUTE}.",
    )
    arguments = (*asked, "--model", untied, "--out", "out")
    process = start(place, *arguments, stdout=-1, stderr=-1)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, b"")
    assert out.splitlines()[0].endswith(rb"Yes, a caf\xe9.")
    assert any((place / "cache" / "eagle-jax" / "xla").iterdir()), "no compilation was kept"

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = start(place, *arguments, stdout=-1, stderr=theirs)
    os.close(theirs)
    again, _ = process.communicate(timeout=600)
    shown = b"".join(read_terminal(ours))
    assert process.returncode == 0
    assert b" forwards [00:" in shown
    assert again.splitlines()[:5] == out.splitlines()[:5]
