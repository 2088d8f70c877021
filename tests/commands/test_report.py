"""``eagle-jax report`` and ``eagle-jax serve``: what they print, write and refuse."""

import dataclasses
import socket

import numpy as np
import pytest
from made_attributions import made_attribution
from made_results import made_result, write_run
from PIL import Image

import eagle_jax
from eagle_jax import cli


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a saved attribution, one without its image, and a picture."""
    monkeypatch.chdir(tmp_path)
    made = made_attribution()
    made.save("saved")
    made.save("bare", image=False)
    Image.fromarray(made.image).save("picture.png")
    return tmp_path


def refused(capsys, *arguments) -> str:
    assert cli.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("eagle-jax: ") and err.count("\n") == 1
    return err


def test_one_explanation_or_several_become_one_file(place, capsys):
    assert cli.main(["report", "saved", "--out", "a/page.html"]) == 0
    assert (
        cli.main(["report", "saved", "bare", "--image", "picture.png", "--out", "b.html"]) == 0
    )
    assert capsys.readouterr().out.split() == ["written", "a/page.html", "written", "b.html"]
    assert (place / "b.html").stat().st_size > (place / "a" / "page.html").stat().st_size


def test_a_run_becomes_a_folder_and_what_failed_is_named(place, capsys):
    made = [made_result("fine"), made_result("lost")]
    made[0] = made[0]._replace(item=dataclasses.replace(made[0].item, image=place / "kite.png"))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("kite.png")
    made[1] = made[1]._replace(item=dataclasses.replace(made[1].item, image=place / "no.png"))
    write_run(place / "run", made)
    assert cli.main(["report", "run", "--out", "pages"]) == 1
    out, err = capsys.readouterr()
    assert out.split() == ["written", "pages/index.html", "and", "1", "pages"]
    assert err.startswith("without a page: lost: ") and err.count("\n") == 1


def test_unusable_input_is_one_line(place, capsys):
    assert "no attribution.json" in refused(capsys, "report", ".", "--out", "page.html")
    assert "without its image" in refused(capsys, "report", "bare", "--out", "page.html")
    assert "must end in .html" in refused(capsys, "report", "saved", "--out", "page.pdf")
    arguments = ("report", "saved", "--out", "picture.png/page.html")
    assert "cannot write" in refused(capsys, *arguments)
    (place / "saved" / "arrays.npz").write_bytes(b"damaged")
    assert "is damaged" in refused(capsys, "report", "saved", "--out", "page.html")
    (place / "run" / "items").mkdir(parents=True)
    assert "no result" in refused(capsys, "report", "run", "--out", "pages")
    assert "give it alone" in refused(capsys, "report", "run", "saved", "--out", "pages")
    arguments = ("report", "run", "--image", "picture.png", "--out", "pages")
    assert "leave it out for a whole run" in refused(capsys, *arguments)
    assert {path.name for path in place.iterdir()} == {"saved", "bare", "picture.png", "run"}


def test_a_port_in_use_is_named_before_the_model_is_loaded(place, capsys, monkeypatch):
    def load(*_, **__):
        raise AssertionError("the model is loaded although the port is taken")

    monkeypatch.setattr(eagle_jax, "load", load)
    monkeypatch.setattr("eagle_jax.commands.devices.cache_compilations", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot listen on" in refused(capsys, "serve", "--port", port)
    assert "cannot listen on" in refused(capsys, "serve", "--port", "99999999")
    assert "cannot listen on" in refused(capsys, "serve", "--host", "no.such.host.invalid")
