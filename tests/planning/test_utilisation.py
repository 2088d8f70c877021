"""Utilisation of chips: what is known of it, and what reads it."""

import json
import subprocess
import sys

from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import size_step
from eagle_jax.planning.utilisation import predict_utilisation
from eagle_jax.planning.utilisation.prediction import ASSUMED, bundled_predictions


def test_nothing_of_the_room_is_read_before_a_plan():
    code = """
import sys, eagle_jax, eagle_jax.planning, eagle_jax.cli
eagle_jax.plan
assert not [name for name in sys.modules if name.startswith("eagle_jax.planning.utilisation")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def sized(model, **changes):
    given = {"image": "640x480", "regions": 64, "topology": "v6e:1x1", "targets": 24}
    return size_step(str(model), **given | {"quantize": None} | changes)


def test_utilisation_is_known_for_a_checkpoint_and_a_chip(tmp_path):
    name = "Qwen/Qwen2.5-VL-3B-Instruct"
    bundled = {
        one["model"]: one["utilisation"]
        for one in bundled_predictions()
        if one["hardware"].startswith("v6e") and one["precision"] == "bfloat16"
    }
    found = predict_utilisation(sized(name))
    assert found.fraction == bundled[name] != ASSUMED and "2026-" in found.basis
    # A folder of the same configuration is the same checkpoint, whatever its name.
    for file in ("config", "preprocessor_config"):
        text = json.dumps(published_models()[name][file])
        (tmp_path / f"{file}.json").write_text(text, "utf-8")
    assert predict_utilisation(sized(tmp_path, topology="v6e:2x4")) == found
    for changes in ({"topology": "h200"}, {"quantize": "int8"}):
        other = predict_utilisation(sized(name, **changes))
        assert other.fraction == ASSUMED and "assumption" in other.basis
    assert "assumption" in predict_utilisation(sized("demo")).basis
