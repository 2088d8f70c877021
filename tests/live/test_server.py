"""The live page over HTTP: a search as events, a queue, and what is refused."""

import base64
import http.client
import io
import json
import threading
import time

import numpy as np
import pytest
from live_server import live_server
from PIL import Image

import eagle_jax
from eagle_jax import Attribution, InputError, demo
from eagle_jax.explaining.explanation import Approach
from eagle_jax.live.session import Cancelled, Session
from eagle_jax.scoring.case import AskSettings

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def session():
    return Session(
        eagle_jax.load("demo"), Approach(search="exact"), AskSettings(regions="grid:3x3")
    )


@pytest.fixture(scope="module")
def port(session):
    with live_server(session) as port:
        yield port


def request(port, method, path, body=None, **headers):
    """Status and content of an answer; of JSON the value."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.getheader("content-type") == "application/json":
        content = json.loads(content)
    return answer.status, content


def post(port, path, value):
    return request(port, "POST", path, json.dumps(value), **JSON)


def events_of(content: bytes):
    """Names and values of server-sent events."""
    blocks = [one for one in content.decode().split("\n\n") if one.startswith("event")]
    pairs = [one.removeprefix("event: ").split("\ndata: ") for one in blocks]
    return [(name, json.loads(text)) for name, text in pairs]


def numbers(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture(scope="module")
def question(port):
    image = request(port, "POST", "/images?demo=1")[1]["image"]
    status, found = post(port, "/questions", {"image": image, "prompt": demo.PROMPT})
    assert status == 200
    return found


def test_an_answer_comes_with_its_scores_of_a_blank_and_the_full_image(question, session):
    found = question["explanation"]
    assert "dog" in found["answer"] and found["order"] == [] and found["forwards"] == 2
    model = session.model
    case = eagle_jax.ask(
        model, demo.IMAGE, demo.PROMPT, answer=found["answer"], regions="grid:3x3"
    )
    blank, whole = case.scorer(np.array([[False] * 9, [True] * 9]))
    np.testing.assert_allclose(numbers(found["insertion"]), blank, rtol=1e-5)
    np.testing.assert_allclose(numbers(found["deletion"]), whole, rtol=1e-5)


def test_a_search_grows_and_ends_as_explain_does(question, port, session, tmp_path):
    tokens = [one["text"] for one in question["explanation"]["chips"]]
    dog = tokens.index("dog")
    asked = {"question": question["question"], "positions": [dog]}
    status, content = post(port, "/searches", asked)
    events = events_of(content)
    assert status == 200
    assert {name for name, _ in events[:-1]} == {"step"} and events[-1][0] == "done"
    alone = eagle_jax.explain(
        session.model,
        demo.IMAGE,
        demo.PROMPT,
        target=[dog],
        regions="grid:3x3",
        search="exact",
    )
    steps = [value["order"] for _, value in events[:-1] if value["order"]]
    assert all(one == alone.order[: len(one)].tolist() for one in steps)
    assert [len(one) for one in steps][:5] == [1, 2, 3, 4, 5]
    planned = [value["planned"] for _, value in events[:-1]]
    assert planned[-1] == alone.forwards
    done = events[-1][1]
    assert done["explanation"]["order"] == alone.order.tolist()
    assert done["explanation"]["forwards"] == alone.forwards == 90
    assert done["explanation"]["auc"] == pytest.approx(
        [alone.insertion_auc, alone.deletion_auc]
    )
    assert isinstance(session.explanation(done["number"]), Attribution)

    status, content = request(port, "GET", f"/reports/{done['number']}")
    assert status == 200 and b"Content-Security-Policy" in content
    assert request(port, "GET", "/reports/999")[0] == 404


def test_searches_wait_for_each_other_and_end_when_nobody_listens(port, question, session):
    running, most, gate = [], [], threading.Event()
    explain = session.explain

    def slow(*arguments):
        running.append(1)
        most.append(len(running))
        gate.wait(20)
        try:
            return explain(*arguments)
        finally:
            running.pop()

    session.explain = slow
    try:
        asked = {"question": question["question"], "positions": [0]}
        streams = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(3)]
        for number, stream in enumerate(streams):
            stream.request("POST", "/searches", json.dumps(asked), JSON)
            while number == 0 and not running:
                time.sleep(0.01)
        answers = [stream.getresponse() for stream in streams]
        # One of them leaves while it waits or searches.
        first = [answers[i].readline() for i in (1, 2)]
        assert all(line == b"event: waiting\n" for line in first)
        answers[2].close()
        streams[2].close()
        time.sleep(2.5)
        gate.set()
        for answer, stream in zip(answers[:2], streams[:2], strict=True):
            assert events_of(answer.read())[-1][0] == "done"
            stream.close()
        # The third got its turn, found itself left alone, and ended at its first round.
        status, content = post(port, "/searches", asked)
        assert events_of(content)[-1][0] == "done" and max(most) == 1
    finally:
        del session.explain


def test_images_are_checked_as_on_the_command_line(port):
    assert request(port, "POST", "/images", b"no image") == (
        400,
        {"error": "the image: not an image file that Pillow can read"},
    )
    status, said = request(port, "POST", "/images", b"")
    assert status == 400 and said["error"] == "the image: the image file is empty"
    status, said = request(port, "POST", "/images", bytes(20_000_001))
    assert status == 400 and said["error"].startswith("the upload is larger than 20 MB")
    content = io.BytesIO()
    Image.new("RGB", (5, 4)).save(content, "png")
    assert request(port, "POST", "/images", content.getvalue())[0] == 200


@pytest.mark.parametrize(
    "path, value, said",
    [
        ("/questions", {"image": 99, "prompt": "What?"}, "this image has been discarded"),
        ("/questions", {"image": 1}, "prompt is missing"),
        ("/questions", {"image": "1", "prompt": ""}, "image is missing or of the wrong"),
        ("/questions", [], "not a JSON object"),
        ("/questions", {"image": 1, "prompt": "long " * 20_000}, "reads at most"),
        ("/questions", {"image": 1, "prompt": "x" * 1_000_000}, "larger than 1 MB"),
        ("/searches", {"question": 1, "positions": ["a"]}, "positions must be a list of whole"),
    ],
)
def test_unusable_requests_get_one_line(path, value, said, port, question):
    status, answer = post(port, path, value)
    assert status == 400 and said in answer["error"] and "\n" not in answer["error"]


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"question": 999, "positions": None}, "this question has been discarded"),
        ({"positions": [999]}, "999"),
        ({"positions": []}, "target"),
    ],
)
def test_unusable_searches_end_with_one_line(asked, said, port, question):
    status, content = post(port, "/searches", {"question": question["question"]} | asked)
    ((name, value),) = events_of(content)
    assert status == 200 and name == "failed" and said in value["error"]
    assert request(port, "GET", "/")[0] == 200


def test_other_sites_and_other_names_are_refused(port):
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        assert request(port, "POST", "/images?demo=1", Origin=origin)[0] == 403
    assert request(port, "GET", "/", Host="evil.example")[0] == 403
    assert request(port, "GET", "/", Host=f"127.0.0.1.evil.example:{port}")[0] == 403
    own = f"http://127.0.0.1:{port}"
    assert request(port, "POST", "/images?demo=1", Origin=own)[0] == 200
    assert request(port, "GET", "/", Host=f"localhost:{port}")[0] == 200


def test_a_page_for_others_is_opened_by_its_token(session):
    with live_server(session, "secret") as port:
        assert request(port, "GET", "/")[0] == 401
        assert request(port, "GET", "/?token=other")[0] == 401
        assert request(port, "POST", "/images?demo=1", Cookie="eagle-jax-token=x")[0] == 401
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/?token=secret")
        answer = connection.getresponse()
        cookie = answer.getheader("set-cookie")
        assert answer.status == 303 and answer.getheader("location") == "/"
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        connection.close()
        headers = {"Cookie": cookie.split(";")[0], "Host": "any.example"}
        assert request(port, "GET", "/", **headers)[0] == 200


def test_old_images_are_discarded(session):
    session = Session(session.model)
    first = session.add_image(np.zeros((2, 2, 3), np.uint8))
    for _ in range(16):
        session.add_image(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="has been discarded"):
        session.question(first, "What?")


def test_a_server_that_ends_ends_its_searches(session):
    session = Session(session.model)
    begun, ends = threading.Event(), []

    def endless(question, positions, tell, cancelled):
        begun.set()
        ends.append(cancelled.wait(60))
        raise Cancelled

    session.explain = endless
    with live_server(session) as port:
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        stream.request("POST", "/searches", '{"question": 1, "positions": null}', JSON)
        answer = stream.getresponse()
        assert begun.wait(60)
    answer.close()
    stream.close()
    assert ends == [True]


def test_a_cancelled_search_ends_at_its_next_round(session, question):
    cancelled, rounds = threading.Event(), []

    def tell(found, planned):
        rounds.append(found.forwards)
        if len(rounds) == 3:
            cancelled.set()

    with pytest.raises(Cancelled):
        session.explain(question["question"], [0], tell, cancelled)
    assert len(rounds) == 3


def test_an_error_of_ours_is_told_and_the_server_goes_on(session, caplog):
    session = Session(session.model)

    def broken(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of\nmemory")

    session.explain = broken
    with live_server(session) as port:
        for _ in range(2):
            asked = {"question": 1, "positions": None}
            ((name, value),) = events_of(post(port, "/searches", asked)[1])
            assert name == "failed"
            assert value["error"] == "the search failed: RESOURCE_EXHAUSTED: out of memory"
    assert "a search failed" in caplog.text
