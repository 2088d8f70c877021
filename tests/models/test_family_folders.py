"""Folders of every family that cannot be used: one line says why."""

import json
import shutil

import families
import numpy as np
import pytest

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.config_values import checked_config
from eagle_jax.models.families.table import FAMILIES


def edit(folder, copy, change):
    """A copy of a checkpoint with another config.json."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    change(config, config.get("text_config", config))
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@families.every_family
def test_an_image_beyond_the_context_is_refused(name, cases, make_image, tmp_path):
    def change(config, text):
        text["max_position_embeddings"] = 20

    folder = edit(cases(name).folder, tmp_path / "model", change)
    model = eagle_jax.load(folder)
    image, labels = make_image(1, 160, 160), np.zeros((160, 160), np.int32)
    message = r"sequence has \d+ tokens, \d+ of them for the image, .* reads at most 20 "
    for answer in ("Yes", None):
        with pytest.raises(InputError, match=message):
            eagle_jax.ask(model, image, families.PROMPT, answer=answer, regions=labels)


@families.every_family
def test_a_config_that_contradicts_the_weights_is_refused(name, cases, tmp_path):
    def more_layers(config, text):
        text["num_hidden_layers"] += 2

    def wider(config, text):
        text["intermediate_size"] *= 2

    def other_vision(config, text):
        vision = config["vision_config"]
        vision["mlp_ratio" if "mlp_ratio" in vision else "intermediate_size"] *= 2

    for change, said in (
        (more_layers, "do not fit its config.json; .* missing: model.layers."),
        (wider, "another shape than its config.json says: .*mlp"),
        (other_vision, "another shape than its config.json says: vis.*mlp"),
    ):
        folder = edit(cases(name).folder, tmp_path / change.__name__, change)
        with pytest.raises(InputError, match=said):
            eagle_jax.load(folder)


@families.every_family
def test_a_tokenizer_without_a_place_for_images_is_refused(name, cases, tmp_path, make_image):
    def other_token(config, text):
        config.pop("image_token_index", None)
        config["image_token_id"] = 5

    folder = edit(cases(name).folder, tmp_path / "model", other_token)
    image, labels = make_image(1, 64, 64), np.zeros((64, 64), np.int32)
    model = eagle_jax.load(folder)
    with pytest.raises(InputError, match="writes the image token .* 0 times"):
        eagle_jax.ask(model, image, "What?", answer="Yes", regions=labels)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="has no chat template"):
        eagle_jax.load(folder)


def places(tree, path=()):
    for name, value in tree.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places(value, (*path, name))


@families.every_case
def test_any_value_anywhere_in_config_is_read_or_refused(name, kind, cases):
    text = (cases(name, kind).folder / "config.json").read_text()
    values = ("abc", None, -1, 0, 1, 3, 1.5, [], {}, True, 10**12, [1], ["a"], float("nan"))
    family = FAMILIES[json.loads(text)["model_type"]]
    refused = 0
    for path in places(json.loads(text)):
        for value in values:
            config = part = json.loads(text)
            for one in path[:-1]:
                part = part[one]
            part[path[-1]] = value
            try:
                family.weight_keys(family.read_config(checked_config(config)))
            except InputError as error:
                assert len(str(error).splitlines()) == 1
                refused += 1
    assert refused > 200
