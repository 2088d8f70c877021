"""The page as a file: what it holds, that no text can leave its place, and what is refused."""

import base64
import dataclasses
import hashlib
import html
import json
import re

import numpy as np
import pytest
from made_attributions import made_attribution, made_values
from made_results import corrected_from, made_result, write_run
from PIL import Image

import eagle_jax
from eagle_jax import InputError
from eagle_jax.reports.page import Explanation, page_bytes, read_explanation, report
from eagle_jax.reports.page.page_data import explanation_data
from eagle_jax.reports.page.run_pages import report_run

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    " <img src=x onerror=hacked()>",
    "\ud800",
    "\u2028&amp;<!--",
    " \x00",
    "]]>",
)


def unpack(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def data_of(content: bytes) -> dict:
    """What the script of a page is told."""
    found = re.findall(rb'<script type="application/json" id="data">(.*?)</script>', content)
    (text,) = found
    return json.loads(text)


def test_a_finding_is_told_in_full():
    made = made_attribution(shape=(300, 700), n=15)
    (found,) = data_of(page_bytes([Explanation("one", made)]))["explanations"]
    runs = unpack(found["labels"], "<u4").reshape(-1, 2)
    np.testing.assert_array_equal(np.repeat(*runs.T).reshape(300, 700), made.labels)
    assert found["order"] == made.order.tolist()
    for name in ("insertion", "deletion"):
        np.testing.assert_array_equal(
            unpack(found[name], "<f4").reshape(made.insertion.shape), getattr(made, name)
        )
    np.testing.assert_array_equal(unpack(found["area"], "<f4"), made.area)
    by_region = unpack(found["value"], "<f4")
    np.testing.assert_allclose(by_region[made.labels], made.saliency, rtol=1e-6)
    assert found["reliance"] == pytest.approx(made.reliance.tolist())
    picture = base64.b64decode(found["image"].split(",")[1])
    assert picture.startswith((b"\x89PNG", b"\xff\xd8"))


def test_values_are_told_with_their_errors_and_take_no_more_room_than_the_curves():
    made = made_attribution(**made_values(8, 12))
    found = explanation_data(Explanation("", made))
    for name in ("values", "errors"):
        held = unpack(found["values"][name], "<f4").reshape(8, 12)
        np.testing.assert_array_equal(held, getattr(made, name))
    assert (found["values"]["gap"], found["values"]["unseen"]) == (0.0625, 0.03125)
    assert "of the words rest on the image" in found["share"]
    bare = explanation_data(Explanation("", made_attribution()))
    assert bare["values"] is None
    more = len(json.dumps(found)) - len(json.dumps(bare))
    assert more < len(found["insertion"]) + len(found["deletion"]) + 500


def test_tokens_words_and_sentences():
    answer = ("A", " half", "-open", " door", ".", "\u2581It", " is", " red", "!", "</s>")
    found = explanation_data(
        Explanation("", made_attribution(answer=answer, positions=[1, 2, 5], scored=["x"] * 3))
    )
    chips = found["chips"]
    scored = [(), (0,), (1,), (), (), (2,), *[()] * 4]
    assert [chip["scored"] for chip in chips] == scored
    assert [chip["positions"] for chip in chips] == [(position,) for position in range(10)]
    assert chips[5]["text"] == "It" and chips[5]["instead"] == "x" and chips[9]["small"]
    assert [1, 2] in found["words"] and [0] in found["words"]
    assert found["sentences"] == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_large_pictures_are_shown_smaller():
    found = explanation_data(Explanation("", made_attribution((200, 2560), n=15)))
    assert (found["width"], found["height"]) == (1280, 100)
    runs = unpack(found["labels"], "<u4").reshape(-1, 2)
    assert runs[:, 1].sum() == 1280 * 100 and set(runs[:, 0]) == set(range(15))


def test_controls_are_means_over_their_family():
    result = made_result(controls=3)
    image = np.zeros((40, 60, 3), np.uint8)
    made = dataclasses.replace(result.attribution, image=image)
    random = explanation_data(Explanation("", made, controls=result.controls))["controls"][0]
    assert (random["name"], random["orders"]) == ("random", 3)
    along = [
        dataclasses.replace(made, **result.controls[f"random-{i}"]._asdict()) for i in range(3)
    ]
    assert random["auc"][0] == pytest.approx(np.mean([one.insertion_auc for one in along]))
    drawn = unpack(random["insertion"], "<f4").reshape(51, -1)
    # All regions are of one size, so that 12 of 24 of them are half of the picture.
    middle = np.mean([one.insertion[12] for one in along], axis=0)
    np.testing.assert_allclose(
        drawn[[0, 25, 50]], [made.insertion[0], middle, made.deletion[0]]
    )


def test_no_text_can_leave_its_place():
    made = made_attribution(answer=HOSTILE, prompt=HOSTILE[0], model="</title><b>")
    content = page_bytes([Explanation("--><script>", made)])
    assert content.isascii()
    assert content.count(b"<script") == 2 and content.count(b"</script") == 2
    assert content.count(b"<img") == 1 and b"</title><b>" not in content
    (found,) = data_of(content)["explanations"]
    # Texts survive as they are, a lone surrogate too.
    assert found["prompt"] == HOSTILE[0] and found["answer"] == "".join(HOSTILE[:-1])
    assert found["chips"][2]["text"] == "\ud800"


def test_the_policy_admits_this_script_and_this_style_alone():
    content = page_bytes([Explanation("", made_attribution())])
    (policy,) = re.findall(rb'Content-Security-Policy" content="([^"]*)"', content)
    (script,) = re.findall(rb"<script>(.*?)</script>", content, re.DOTALL)
    (style,) = re.findall(rb"<style>(.*?)</style>", content, re.DOTALL)
    digests = [
        "'sha256-" + base64.b64encode(hashlib.sha256(one).digest()).decode() + "'"
        for one in (script, style)
    ]
    assert policy.decode() == (
        f"default-src 'none'; script-src {digests[0]}; style-src {digests[1]}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(rb"https?://", content.replace(b"http://www.w3.org/2000/svg", b""))
    assert b" style=" not in content


def test_a_page_of_a_photograph_is_small():
    rng = np.random.default_rng(0)
    # As hard to compress as a picture can be, in 64 ragged regions.
    image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    rows, columns = np.arange(480)[:, None], np.arange(640)
    wave = (rows + 3 * np.sin(columns / 2)).astype(int).clip(0, 479) // 60
    labels = wave * 8 + (columns + 3 * np.sin(rows / 2)).astype(int).clip(0, 639) // 80
    answer = tuple(f" word{i}" for i in range(128))
    made = made_attribution(
        (480, 640), answer=answer, image=image, labels=labels.astype(np.int32)
    )
    assert len(page_bytes([Explanation("", made)])) < 5e6


def test_a_notebook_shows_the_page_in_a_frame():
    made = made_attribution()
    shown = made._repr_html_()
    (held,) = re.findall(r'srcdoc="([^"]*)"', shown)
    assert 'sandbox="allow-scripts"' in shown
    expected = page_bytes([Explanation("attribution", made)]).decode()
    # The page within the attribute is escaped once more.
    assert html.unescape(held).split("<script")[1] == expected.split("<script")[1]
    assert dataclasses.replace(made, image=None)._repr_html_() is None


def test_several_findings_and_several_ways_to_name_them(tmp_path):
    made = made_attribution()
    made.save(tmp_path / "fast")
    report([made, tmp_path / "fast", Explanation("third", made)], tmp_path / "page.html")
    found = data_of((tmp_path / "page.html").read_bytes())["explanations"]
    assert [one["name"] for one in found] == ["exact", "fast", "third"]
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    made.report(tmp_path / "page.html")
    assert len(data_of((tmp_path / "page.html").read_bytes())["explanations"]) == 1


def diagnosis(folder, **changes):
    result = made_result(kind="presence", answers=corrected_from(15))
    image = np.zeros((40, 60, 3), np.uint8)
    dataclasses.replace(result.attribution, image=image).save(folder)
    record = {"label": "No", "after": "No, none.", "answers": list(result.answers)} | changes
    (folder / "answers.json").write_text(json.dumps(record))
    return folder


def test_a_diagnosis_is_told_with_its_answers(tmp_path):
    found = explanation_data(read_explanation(diagnosis(tmp_path / "d")))["diagnosis"]
    assert found["kept"] == 15 and found["right"] == [True] * 16 + [False] * 9
    assert found["after"] == "No, none." and found["label"] == "No"


@pytest.mark.parametrize(
    "changes", [{"label": "Maybe"}, {"answers": ["No"]}, {"answers": [1] * 25}, {"answers": 3}]
)
def test_a_damaged_diagnosis_is_named(changes, tmp_path):
    with pytest.raises(InputError, match=r"answers\.json is damaged"):
        read_explanation(diagnosis(tmp_path / "d", **changes))


def run_of(folder, results):
    """A run whose pictures exist."""
    picture = folder.with_suffix(".png")
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(picture)
    placed = [
        one._replace(item=dataclasses.replace(one.item, image=picture)) for one in results
    ]
    return write_run(folder, placed)


def test_a_result_of_a_run_brings_controls_and_answers(tmp_path):
    made = made_result(kind="presence", answers=corrected_from(4), controls=1)
    out = run_of(tmp_path / "run", [made])
    found = read_explanation(out / "items" / "kite-0")
    assert found.label == "No" and found.answers == made.answers
    assert set(found.controls) == {"random-0", "matched-0", "area"}
    assert found.attribution.image is not None


def test_a_run_has_an_index_and_a_page_an_item(tmp_path):
    out = run_of(
        tmp_path / "run",
        [
            made_result("b <i>", controls=1),
            made_result("a", "presence", answers=corrected_from(3)),
        ],
    )
    lost = made_result("lost", "word")
    write_run(out, [lost._replace(item=dataclasses.replace(lost.item, image=tmp_path / "no"))])
    (out / "failures").mkdir()
    (out / "failures" / "gone.json").write_text('{"reason": "no such </script>"}')
    entries = report_run(out, tmp_path / "pages")
    problems = {one.name: one.problem for one in entries if one.problem}
    assert set(problems) == {"lost", "gone"} and "no such image file" in problems["lost"]

    index = data_of((tmp_path / "pages" / "index.html").read_bytes())
    assert sorted(index["names"]) == ["a", "b <i>", "gone", "lost"]
    place = {name: i for i, name in enumerate(index["names"])}
    assert index["wrong"][place["a"]] is True and index["wrong"][place["b <i>"]] is None
    assert index["links"][place["b <i>"]] == "b%20%3Ci%3E"
    made = made_result("b <i>").attribution
    column = unpack(index["columns"]["insertion_auc"], "<f4")
    assert column[place["b <i>"]] == pytest.approx(made.insertion_auc, rel=1e-6)
    assert np.isnan(column[place["gone"]])
    for folder, ending in (("items", ".html"), ("thumbnails", ".jpg")):
        held = {path.name for path in (tmp_path / "pages" / folder).iterdir()}
        assert held == {f"a{ending}", f"b <i>{ending}"}
    (held,) = data_of((tmp_path / "pages" / "items" / "a.html").read_bytes())["explanations"]
    assert held["diagnosis"]["kept"] == 3

    # Pages are replaced as a whole; anything else is left alone.
    assert len(report_run(out, tmp_path / "pages")) == 4
    (tmp_path / "pages" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="holds other files"):
        report_run(out, tmp_path / "pages")
    with pytest.raises(InputError, match="it is a file"):
        report_run(out, tmp_path / "run.png")


def test_what_cannot_be_reported_is_refused(tmp_path):
    made = made_attribution()
    without = dataclasses.replace(made, image=None)
    with pytest.raises(InputError, match="without its image: give the image"):
        report(without, tmp_path / "page.html")
    with pytest.raises(InputError, match=r"must end in \.html"):
        report(made, tmp_path / "page.png")
    with pytest.raises(InputError, match="at least one"):
        report([], tmp_path / "page.html")
    with pytest.raises(InputError, match="no attribution.json"):
        report(tmp_path, tmp_path / "page.html")
    without.save(tmp_path / "saved")
    with pytest.raises(InputError, match="without its image"):
        report(tmp_path / "saved", tmp_path / "page.html")
    with pytest.raises(InputError, match="holds no run"):
        report_run(tmp_path, tmp_path / "pages")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file/page.html"):
        report(made, tmp_path / "file" / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "saved"]


def test_the_public_names_are_these():
    assert eagle_jax.report is report and eagle_jax.report_run is report_run
