import json
import logging

import numpy as np
import pytest
from small_tokenizer import TEMPLATE, save_small_tokenizer

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import encode_answer
from eagle_jax.inputs.prompt import (
    Dialogue,
    build_prompt,
    load_tokenizer,
    opens_thought,
)


@pytest.fixture
def folder(tmp_path):
    save_small_tokenizer(tmp_path)
    return tmp_path


def image_id(tokenizer):
    return tokenizer.convert_tokens_to_ids("<|image_pad|>")


@pytest.fixture
def tokenizer(folder):
    return load_tokenizer(folder, 0)


def test_the_prompt_is_the_published_template(tokenizer):
    pad = image_id(tokenizer)
    ids = build_prompt(tokenizer, "What colour is the car? ", 6, pad)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|>" + 6 * "<|image_pad|>" + "<|vision_end|>"
        "What colour is the car? <|im_end|>\n<|im_start|>assistant\n"
    )
    names = tokenizer.convert_ids_to_tokens(ids)
    assert names[:3] == ["<|im_start|>", "system", "Ċ"]
    assert np.flatnonzero(ids == pad).tolist() == list(range(names.index("<|image_pad|>"), 21))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_blank_prompt_is_refused(tokenizer, text):
    with pytest.raises(InputError, match="prompt is empty"):
        build_prompt(tokenizer, text, 4, image_id(tokenizer))


@pytest.mark.parametrize(
    "name", ["<|image_pad|>", "<|im_end|>", "<|im_start|>", "<|endoftext|>"]
)
def test_a_prompt_cannot_forge_special_tokens(tokenizer, name):
    with pytest.raises(InputError) as caught:
        build_prompt(tokenizer, f"Is there {name} a cat?", 4, image_id(tokenizer))
    assert name in str(caught.value)


def test_a_prompt_may_look_like_a_template(tokenizer):
    ids = build_prompt(tokenizer, "{{ 1 + 1 }} <|im_ |> {% raise %}", 4, image_id(tokenizer))
    assert "{{ 1 + 1 }} <|im_ |> {% raise %}<|im_end|>" in tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content + 'x' }}", "cannot show an image"),
        ("{{ messages[0].content[1].text }}", "0 times"),
        ("{{ raise_exception('only text') }}", "only text"),
        ("{% if %}", "cannot show an image"),
    ],
)
def test_a_template_without_a_place_for_the_image_is_refused(tokenizer, template, message):
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=message):
        build_prompt(tokenizer, "Is there a cat?", 4, image_id(tokenizer))


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match="no tokenizer"):
        load_tokenizer(tmp_path, 0)


def test_a_damaged_tokenizer_is_refused(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(folder, 0)


def test_the_chat_template_may_lie_with_the_processor(folder):
    import json

    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_tokenizer(folder, 0)
    (folder / "chat_template.json").write_text("{}")
    with pytest.raises(InputError, match="holds no chat_template"):
        load_tokenizer(folder, 0)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert load_tokenizer(folder, 0).chat_template == TEMPLATE


TEXT_ONLY = "{% for m in messages %}{{ 'USER: ' + m['content'] + ' ASSISTANT:' }}{% endfor %}"
OTHER = TEMPLATE.replace("You are a helpful assistant.", "You are brief.")


def keep_template(folder, **places):
    """The folder with a template in each place and in no other."""
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for place, template in places.items():
        if place == "jinja":
            (folder / "chat_template.jinja").write_text(template)
        elif place == "tokenizer":
            path.write_text(json.dumps(config | {"chat_template": template}))
        else:
            (folder / f"{place}.json").write_text(json.dumps({"chat_template": template}))
    return load_tokenizer(folder, image_id(load_tokenizer(folder, 0))).chat_template


def named(**templates):
    return [{"name": name, "template": text} for name, text in templates.items()]


@pytest.mark.parametrize(
    "places",
    [
        {"tokenizer": TEXT_ONLY, "chat_template": TEMPLATE},
        {"tokenizer": OTHER, "chat_template": TEMPLATE},
        {"tokenizer": TEXT_ONLY, "processor_config": TEMPLATE},
        {"jinja": TEXT_ONLY, "chat_template": TEMPLATE},
        {"jinja": OTHER, "chat_template": TEMPLATE},
        {"chat_template": OTHER, "processor_config": TEMPLATE},
        {"chat_template": TEXT_ONLY, "tokenizer": TEMPLATE},
        {"tokenizer": OTHER, "jinja": TEMPLATE},
        {"tokenizer": named(default=TEMPLATE, tool_use=TEXT_ONLY)},
        {"tokenizer": named(default=TEXT_ONLY), "chat_template": named(default=TEMPLATE)},
        {"tokenizer": named(tool_use=TEXT_ONLY), "chat_template": TEMPLATE},
        {"tokenizer": TEMPLATE, "chat_template": 3},
    ],
)
def test_the_processors_template_comes_first_if_it_shows_an_image(places, folder):
    assert keep_template(folder, **places) == TEMPLATE


def test_named_templates_without_a_default_are_refused(folder):
    with pytest.raises(InputError, match=r"no chat template named default \(rag, tool_use\);"):
        keep_template(folder, tokenizer=named(rag=TEMPLATE, tool_use=TEMPLATE))


def test_a_template_for_text_alone_is_refused_when_asked(folder):
    keep_template(folder, tokenizer=TEXT_ONLY)
    with pytest.raises(InputError, match="cannot show an image"):
        build_prompt(load_tokenizer(folder, 0), "Is there a cat?", 4, 0)


def test_a_tokenizer_for_sentencepiece_names_the_package(folder, monkeypatch):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="tokenizer.model alone.* pip install sentencepiece"):
        load_tokenizer(folder, 0)


def test_an_image_token_beyond_the_vocabulary_is_refused(folder):
    with pytest.raises(InputError, match="image_token_id 151655 in config.json is not a token"):
        load_tokenizer(folder, 151655)


def with_length(folder, value):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": value}))
    return folder


@pytest.mark.parametrize("value", ["lots", "1e30", [512], True])
def test_a_length_that_is_no_number_is_refused(value, folder):
    with pytest.raises(InputError, match="tokenizer_config.json: model_max_length is .*number"):
        load_tokenizer(with_length(folder, value), 0)


def test_the_length_limit_of_the_tokenizer_is_ignored(folder, caplog, monkeypatch):
    logger = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    tokenizer = load_tokenizer(with_length(folder, 5), 0)
    assert len(build_prompt(tokenizer, "What colour is the car?", 6, image_id(tokenizer))) > 5
    assert len(encode_answer(tokenizer, "There is a red cat.")) > 5
    assert caplog.records == []


def rendered(tokenizer, text="Is it?", **dialogue):
    ids = build_prompt(tokenizer, text, 1, image_id(tokenizer), Dialogue(**dialogue))
    return tokenizer.decode(ids)


# The ends of published templates: no thought, a thought that is always begun, and a switch.
ENDS = {
    "none": "",
    "always": "<think>\n",
    "switch": "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}",
    "other switch": "{% if thinking %}<think>\n{% else %}</think>{% endif %}",
}


@pytest.mark.parametrize(
    ("end", "thinking", "written", "opened"),
    [
        ("none", None, "", False),
        ("none", "off", "", False),
        ("always", None, "<think>\n", True),
        ("always", "off", "<think>\n", True),
        ("switch", None, "<think>\n", True),
        ("switch", "on", "<think>\n", True),
        ("switch", "off", "<think>\n\n</think>\n\n", False),
        ("other switch", "on", "<think>\n", True),
        ("other switch", "off", "</think>", False),
    ],
)
def test_the_switch_of_the_template(tokenizer, end, thinking, written, opened):
    tokenizer.chat_template = TEMPLATE.replace("assistant\n", "assistant\n" + ENDS[end])
    text = rendered(tokenizer, thinking=thinking)
    assert text.endswith(f"<|im_start|>assistant\n{written}")
    assert opens_thought(tokenizer, Dialogue(thinking=thinking)) == opened


def test_thinking_is_on_or_off(tokenizer):
    with pytest.raises(InputError, match="thinking is 'no'; it must be one of on, off"):
        rendered(tokenizer, thinking="no")


AS_TEXT = TEMPLATE.replace(
    "{% for part in message.content %}",
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}",
).replace("{% endfor %}<|im_end|>", "{% endfor %}{% endif %}<|im_end|>")


@pytest.mark.parametrize("template", [TEMPLATE, AS_TEXT])
@pytest.mark.parametrize("text", ["Answer in one word.", "", "'{{ x }}' \u00e9"])
def test_a_system_message_takes_the_place_of_the_default(tokenizer, template, text):
    tokenizer.chat_template = template
    assert rendered(tokenizer, system=text) == (
        f"<|im_start|>system\n{text}<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        "<|image_pad|><|vision_end|>Is it?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    "template",
    [
        TEMPLATE.replace("for message in messages %}", "for message in messages[-1:] %}", 1),
        "{{ raise_exception('no system') if messages[0].role == 'system' }}" + TEMPLATE,
    ],
)
def test_a_template_without_a_place_for_a_system_message_is_named(tokenizer, template):
    tokenizer.chat_template = template
    rendered(tokenizer)
    with pytest.raises(InputError, match="has no place for a system message; leave it out"):
        rendered(tokenizer, system="Be brief.")


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("Be <|im_end|> brief", "the system message contains the special token <.im_end.>"),
        ("See <image>", "the system message contains '<image>'"),
        (3, r"system is 3 \(int\); it must be text"),
    ],
)
def test_an_unusable_system_message_is_named(tokenizer, system, message):
    with pytest.raises(InputError, match=message):
        rendered(tokenizer, system=system)


@pytest.mark.parametrize(
    "text",
    [
        "<image>\nIs there a cat?",
        "Is there a cat?\n<image>",
        "Look at <image 1>. Is there a cat?",
        "<image_2> Is it?",
        "<|image_1|>\nIs it?",
        "<|image|>Is it?",
        "<IMG_CONTEXT>Is it?",
        "<img>cat.jpg</img>Is it?",
        "<img>\nIs it?",
        "<ImageHere>Is it?",
        "<image_placeholder>Is it?",
        "<start_of_image>Is it?",
        "[IMG]Is it?",
        "<video>\nIs it?",
    ],
)
def test_the_mark_of_an_image_in_another_format_is_named(tokenizer, text):
    with pytest.raises(InputError, match="mark of an image in another model's format; remove"):
        rendered(tokenizer, text)


@pytest.mark.parametrize(
    "text", ["Is a <video> tag on the page?", "Is <b> bold?", "image: cat", "[image] a"]
)
def test_other_angle_brackets_are_text(tokenizer, text):
    assert text in rendered(tokenizer, text)
