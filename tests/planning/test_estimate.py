"""Plans: published figures, arithmetic, and one line for whatever cannot be planned."""

import math
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from eagle_jax import cli
from eagle_jax.errors import InputError
from eagle_jax.planning import compilation
from eagle_jax.planning import estimate as planning
from eagle_jax.planning.chips import CHIPS, parse_topology
from eagle_jax.planning.compilation import REAL, Compiled
from eagle_jax.planning.estimate import plan
from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import Step


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    monkeypatch.setattr(planning, "compiler_missing", lambda: "libtpu is not installed")


# Parameters that the model cards name, in units of 10**9.
PARAMETERS = {
    "llava-hf/llava-1.5-7b-hf": 7.06,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.75,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8.29,
    "OpenGVLab/InternVL3_5-4B-HF": 4.73,
}
# Visual tokens of a 640 x 480 image, and 10**12 operations of a forward.
FORWARDS = {
    "llava-hf/llava-1.5-7b-hf": (576, 8.9),
    "Qwen/Qwen2.5-VL-3B-Instruct": (391, 4.7),
    "Qwen/Qwen2.5-VL-7B-Instruct": (391, 8.3),
    "OpenGVLab/InternVL3_5-4B-HF": (3328, 37.7),
}


@pytest.mark.parametrize("model", PARAMETERS)
def test_published_checkpoints(model):
    found = plan(model, topology="v6e:2x4")
    # The last vision layer of LLaVA is not used and not loaded.
    assert found.memory.weights == pytest.approx(2e9 * PARAMETERS[model], rel=0.005)
    visual, flops = FORWARDS[model]
    assert found.tokens == (visual, planning.PROMPT_TOKENS, 24)
    assert found.time.flops == pytest.approx(1e12 * flops, rel=0.06)
    assert found.memory.fits and found.mesh == (8, 1) and found.time.forwards == 64 * 65
    assert 0.01e9 < found.memory.program < 8e9


def test_all_four_checkpoints_ship():
    assert set(published_models()) == set(PARAMETERS)


def test_time_is_operations_over_rate():
    found = plan("Qwen/Qwen2.5-VL-3B-Instruct", topology="h200", utilisation=0.4, regions=10)
    scored = sum(math.ceil(2 * k / found.batch_size) * found.batch_size for k in range(1, 11))
    assert found.time.seconds == pytest.approx(scored * found.time.flops / (0.4 * 989e12))
    assert found.time.padding == pytest.approx(1 - 110 / scored)
    assert found.time.default_forwards == found.time.forwards == 110
    assert found.time.host_seconds == pytest.approx(0.2 + 1e-5 * 10 * 110)
    assert "cores" in str(found) or "less than the chips" in str(found)
    assert found.time.default_seconds == pytest.approx(110 * found.time.flops / (0.4 * 989e12))
    eight = plan("Qwen/Qwen2.5-VL-3B-Instruct", topology="h200:8", utilisation=0.4, regions=10)
    assert eight.mesh == (8, 1) and eight.batch_size % 8 == 0
    assert found.time.seconds / 8 <= eight.time.seconds < found.time.seconds


def test_weights_are_split_where_they_do_not_fit():
    found = plan("Qwen/Qwen2.5-VL-7B-Instruct", topology="v5e:2x4")
    assert found.mesh == (4, 2) and found.memory.fits
    assert found.memory.weights == pytest.approx(0.5 * 2e9 * 8.29, rel=0.02)
    alone = plan("Qwen/Qwen2.5-VL-7B-Instruct", image="1280x960", topology="v5e:1x1")
    assert alone.mesh == (1, 1) and not alone.memory.fits
    assert "communication between chips" in str(found)
    assert "communication" not in str(alone)
    assert "DOES NOT FIT" in str(alone) and ": fits" in str(found)


def test_int8_weights_fit_one_small_chip():
    found = plan("Qwen/Qwen2.5-VL-7B-Instruct", topology="v5e:1x1", quantize="int8")
    # All but embedding, head, patch embedding and merger, which stay bfloat16.
    assert found.memory.weights == pytest.approx(1e9 * (8.29 + 2 * 0.545 + 0.047), rel=0.002)
    assert found.memory.fits and "int8" in str(found)


def test_a_folder(untied):
    found = plan(untied, image="84x112", regions=9, topology="a100", targets=3)
    assert found.tokens == (12, planning.PROMPT_TOKENS, 3) and found.time.forwards == 90
    assert found.memory.weights < 1e6 and found.model == str(untied)
    with pytest.raises(InputError, match="reads at most 4096"):
        plan(untied, image="2000x2000")


def test_the_page_says_how_the_time_is_known():
    name = "OpenGVLab/InternVL3_5-4B-HF"
    page = str(plan(name, topology="v6e:2x2"))
    assert "default search takes about 512 forwards" in page
    assert "the compiler's prediction of 20" in page and "for v6e:1x1 and 640x480" in page
    assert "an assumption" in str(plan(name, topology="h100"))
    assert "reuse       saves 4" in page
    assert "reuse" not in str(plan("llava-hf/llava-1.5-7b-hf", topology="v6e:2x2"))
    given = plan(name, topology="v6e:2x2", utilisation=0.3)
    assert given.time.utilisation == 0.3 and given.time.basis == "as given"
    assert max(map(len, page.splitlines())) <= 100


def test_a_compiled_program_tells_its_time(monkeypatch):
    text = (Path(__file__).parents[1] / "support" / "program.hlo").read_text("utf-8")
    efforts = []

    def compiled(step, effort):
        efforts.append(effort)
        program = SimpleNamespace(as_text=lambda: text)
        return Compiled(program, step.weight_bytes + 10, 20, 3.0)

    monkeypatch.setattr(planning, "compiler_missing", lambda: None)
    monkeypatch.setattr(Step, "compile", compiled)
    name = "Qwen/Qwen2.5-VL-3B-Instruct"
    # As a run would be; with less effort the program's time would be of no use.
    found, quick = plan(name, topology="v6e:1x1"), plan(name, topology="v6e:1x1", effort=-1.0)
    assert efforts == [REAL, -1.0] and found.memory.program == quick.memory.program == 30
    milliseconds = 1e3 * (11050 + 2000 + 400) / 1.75e9 + 2e-3
    assert found.time.basis == "the compiler's prediction for this program"
    batches = sum(math.ceil(2 * k / found.batch_size) for k in range(1, 65))
    assert found.time.seconds == pytest.approx(batches * milliseconds / 1e3)
    assert "of 20" in quick.time.basis and quick.time.seconds > 1000 * found.time.seconds


def test_page_on_the_command_line(capsys):
    arguments = ["--model", "llava-hf/llava-1.5-7b-hf", "--topology", "h100", "--regions", "48"]
    assert cli.main(["plan", *arguments]) == 0
    page = capsys.readouterr().out
    for text in ("14.10 GB per chip", "fits", "2352 forwards", "at 50% of peak", "analytic"):
        assert text in page
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"topology": "v7x:2x4"}, "topology is 'v7x:2x4'; it must be v5e:SHAPE .* 16x16"),
        ({"topology": "v6e"}, "topology is 'v6e'"),
        ({"topology": "v6e:3x5"}, "topology is 'v6e:3x5'"),
        ({"topology": "h100:9"}, "topology is 'h100:9'.*h100 or h200"),
        ({"topology": ""}, "topology is ''"),
        ({"image": "640"}, "image is '640'; it must be WIDTHxHEIGHT"),
        ({"image": "0x480"}, "sides from 1 to 10000"),
        ({"image": "20000x480"}, "sides from 1 to 10000"),
        ({"image": "9000x10"}, "more than 200 times"),
        ({"model": "Qwen/Qwen9"}, "model is 'Qwen/Qwen9'; it must be demo.*Qwen2.5-VL-7B"),
        ({"regions": 0}, "regions is 0; it must be from 1"),
        ({"targets": 10**9}, "targets is 1000000000; it must be from 1"),
        ({"utilisation": 0.0}, "utilisation is 0.0; it must be above 0"),
        ({"utilisation": float("nan")}, "utilisation is nan"),
        ({"quantize": "int3"}, "quantize is 'int3'"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        plan(**{"model": "Qwen/Qwen2.5-VL-7B-Instruct"} | arguments)


def test_bad_topology_on_the_command_line_is_one_line(capsys):
    assert cli.main(["plan", "--topology", "tpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("eagle-jax: topology is 'tpu'; it must be v5e:SHAPE")
    assert error.count("\n") == 1


def test_topologies():
    assert parse_topology("v6e:2x4") == ("v6e", "2x4", 8)
    assert parse_topology("V5E:16x16") == ("v5e", "16x16", 256)
    assert parse_topology("h200") == ("h200", "1", 1)
    assert parse_topology("a100:16") == ("a100", "16", 16)
    assert all(chip.memory > 1e10 for chip in CHIPS.values())


def test_the_environment_is_left_as_it_was(monkeypatch):
    seen = {}

    def describe(platform, topology_name):
        seen.update(os.environ)
        return SimpleNamespace(devices=jax.devices())

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", describe)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "ours")
    before = dict(os.environ)
    compilation.tpu_mesh("v6e", "1x1", 1, 1)
    assert (seen["TPU_SKIP_MDS_QUERY"], seen["TPU_WORKER_HOSTNAMES"]) == ("1", "ours")
    assert dict(os.environ) == before


def test_why_nothing_can_be_compiled(monkeypatch):
    monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: None)
    assert "eagle-jax[tpu]" in compilation.compiler_missing()


def test_a_plan_that_does_not_fit_is_told_by_its_bytes():
    found = plan("llava-hf/llava-1.5-7b-hf", topology="h200")
    assert not found.memory._replace(program=found.memory.available).fits
