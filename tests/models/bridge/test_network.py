"""Families that nobody ported, from a folder to a search, against transformers' own class."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_bridged
import tiny_checkpoints
import tiny_internvl
import tiny_llava
import torch
from torch_reference import exact_search

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.inputs.host_pixels import plan_pixels
from eagle_jax.inputs.prompt import render
from eagle_jax.models.bridge.processor import FamilyProcessor
from eagle_jax.scoring import bridged
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.set_function import exact_patches

PROMPT = "Is there a cat?"
# Two rows and three columns of cells.
LABELS = np.arange(6, dtype=np.int32).reshape(2, 3).repeat(20, 0).repeat(20, 1)
SETS = np.array([[1] * 6, [0] * 6, [1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1]], bool)


def draw(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder, its model and PyTorch's reference by the name of the family; made once."""
    known = {}

    def make(name):
        if name not in known:
            folder = tiny_bridged.MAKERS[name](tmp_path_factory.mktemp(name))
            model = eagle_jax.load(folder)
            config = model.network.function.model.config
            processor = FamilyProcessor(folder, model.tokenizer, config)
            known[name] = folder, model, tiny_bridged.Reference(folder, processor)
        return known[name]

    return make


def ask(model, prompt=PROMPT, answer="Yes, a cat.", image=0, **options):
    return eagle_jax.ask(model, draw(image), prompt, answer=answer, regions=LABELS, **options)


@pytest.mark.parametrize("name", tiny_bridged.MAKERS)
def test_masked_images_score_as_in_pytorch(made, name):
    _, model, reference = made(name)
    assert model.backend == "bridge"
    case = ask(model)
    text = render(model.tokenizer, PROMPT)
    wanted = np.stack([reference.score(case, visible, text) for visible in SETS])
    scores = case.scorer(SETS)
    assert abs(np.log(wanted) - np.log(wanted[0])).max() > 0.5, "the image must matter"
    np.testing.assert_allclose(np.log(scores), np.log(wanted), atol=2e-5, rtol=0)


def test_a_whole_search_equals_a_pytorch_loop(made):
    _, model, reference = made("smolvlm")
    case, text = ask(model), render(model.tokenizer, PROMPT)
    wanted = exact_search(lambda visible: reference.score(case, visible, text), 6)
    assert wanted.margin[:-1].min() > 1e-5, "no ties"
    found = eagle_jax.explain(
        model, draw(0), PROMPT, answer="Yes, a cat.", regions=LABELS, search="exact"
    )
    np.testing.assert_array_equal(found.order, wanted.order)
    np.testing.assert_allclose(found.insertion, wanted.insertion, atol=2e-5)
    np.testing.assert_allclose(found.deletion, wanted.deletion, atol=2e-5)


def test_a_second_question_of_a_bucket_compiles_nothing(made):
    _, model, reference = made("smolvlm")
    first = ask(model)
    first.scorer(SETS)
    programs = score_sets._cache_size()
    prompt = "What colour is a car?"
    second = ask(model, prompt, "No, the dog.", image=1, target=[1, 2])
    assert len(second.question.ids) == len(first.question.ids), "the bucket is another one"
    scores = second.scorer(SETS)
    assert score_sets._cache_size() == programs
    text = render(model.tokenizer, prompt)
    wanted = np.stack([reference.score(second, visible, text) for visible in SETS])
    np.testing.assert_allclose(np.log(scores), np.log(wanted), atol=2e-5, rtol=0)


def test_no_constant_of_a_program_is_large(made, monkeypatch):
    _, model, _ = made("gemma3")
    monkeypatch.setattr("eagle_jax.models.bridge.traced.LARGEST_CONSTANT", 512)
    monkeypatch.setattr(model.network.function, "constants", {})
    question = ask(model).question
    masks = [constant.shape for constant in question.positions.constants]
    assert (1, 1, 40, 40) in masks, "Gemma's masks are arguments"
    program = jax.make_jaxpr(eagle_jax.score)(model.network, question, SETS)
    assert max(np.asarray(constant).nbytes for constant in program.consts) <= 512


def test_a_generated_answer_is_pytorchs(made):
    _, model, reference = made("smolvlm")
    answer = eagle_jax.generate(model, draw(0), PROMPT, max_new_tokens=3)
    case = ask(model, answer=[*map(int, answer)])
    text = render(model.tokenizer, PROMPT)
    top = reference.most_likely(case, np.ones(6, bool), text)
    np.testing.assert_array_equal(answer, top)


def test_an_image_that_takes_another_branch_is_an_error_with_its_line(made, monkeypatch):
    _, model, _ = made("smolvlm")
    case = ask(model)
    case.scorer(SETS)
    empty = lambda settings, image, fill, labels, visible: np.zeros(  # noqa: E731
        (len(visible), *case.question.plan.shape), np.float32
    )
    # SmolVLM leaves empty tiles out.
    monkeypatch.setattr("eagle_jax.inputs.host_pixels.prepare_masked", empty)
    line = r"another branch than the whole image, at SmolVLMModel \(modeling_smolvlm.py:\d+\), "
    with pytest.raises(InputError, match=line):
        case.scorer(SETS)
    patches = jnp.zeros((1, *case.question.plan.shape))
    with pytest.raises(InputError, match=line):
        eagle_jax.log_score_patches(model.network, case.question, patches)


def test_pixels_on_the_device_are_the_processors_and_need_no_host(made):
    _, model, reference = made("gemma3")
    question = ask(model).question
    patches = np.asarray(exact_patches(question, jnp.asarray(SETS)))
    for visible, ours in zip(SETS, patches, strict=True):
        pixels = reference.processor.pixels_alone(draw(0) * visible[LABELS][..., None])
        np.testing.assert_array_equal(ours.reshape(pixels.shape), pixels)
    program = score_sets.lower(model.network, question.padded, SETS, np.int32(4), batch_size=4)
    assert "callback" not in program.as_text()
    scores = program.compile()(model.network, question.padded, SETS, np.int32(4))
    count = question.count
    np.testing.assert_allclose(scores[:, :count], ask(model).scorer(SETS), rtol=1e-5)


def test_a_method_that_needs_the_decoder_is_refused(made):
    _, model, _ = made("smolvlm")
    with pytest.raises(InputError, match="the bridge does not show it: take a ported"):
        eagle_jax.explain(
            model, draw(0), PROMPT, answer="Yes", regions=LABELS, method="integrated-gradients"
        )


def test_folders_that_cannot_run_are_refused_in_one_line(made, tmp_path, monkeypatch):
    folder, _, _ = made("smolvlm")
    with pytest.raises(InputError, match="no quantize, min_pixels or max_pixels"):
        eagle_jax.load(folder, quantize="int8")
    with pytest.raises(InputError, match="backend is 'torch'; it must be port or bridge"):
        eagle_jax.load(folder, backend="torch")
    with pytest.raises(InputError, match="says model_type 'smolvlm'; supported are"):
        eagle_jax.load(folder, backend="port")
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"9 missing: .*layers\.2"):
        eagle_jax.load(copy)
    config["text_config"]["num_hidden_layers"] = 1
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"9 unexpected: .*layers\.1"):
        eagle_jax.load(copy)
    config["model_type"] = "bert"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="says model_type 'bert'; supported are"):
        eagle_jax.load(copy)
    monkeypatch.setattr(bridged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'install it with: pip install "eagle-jax\[torch\]"'):
        eagle_jax.load(folder, backend="bridge")


def test_questions_that_share_batches_score_as_alone(made):
    _, model, _ = made("smolvlm")
    scorers = [ask(model).scorer, ask(model, "Is there a dog?", image=1).scorer]
    assert len({scorer.batch_key for scorer in scorers}) == 1
    rows = min(2, scorers[0].batch_size // 2)
    parts = [(scorer, SETS[:rows]) for scorer in scorers]
    together = scorers[0].open_batches(2).begin(parts)()
    for scorer, scores in zip(scorers, together, strict=True):
        np.testing.assert_allclose(scores, scorer(SETS[:rows]), rtol=1e-5)


def test_gradients_by_pixels_are_pytorchs(made):
    _, model, reference = made("smolvlm")
    question = ask(model).question
    patches = exact_patches(question, jnp.ones((1, 6), bool))

    def total(patches):
        return eagle_jax.log_score_patches(model.network, question, patches).sum()

    gradient = np.asarray(jax.jit(jax.grad(total))(patches))
    grid = question.positions.hint.grid
    pixels = torch.tensor(np.asarray(patches).reshape(grid.shape)).requires_grad_(True)
    ids = torch.tensor(np.asarray(question.ids), dtype=torch.long)[None]
    mask = grid.extras["pixel_attention_mask"]
    logits = reference.model(
        input_ids=ids, pixel_values=pixels, pixel_attention_mask=mask
    ).logits
    rows, wanted = (np.array(a[: question.count]) for a in (question.rows, question.token_ids))
    logits[0].log_softmax(-1)[rows, wanted].sum().backward()
    np.testing.assert_allclose(gradient.reshape(grid.shape), pixels.grad, atol=1e-5)


def test_a_ported_family_scores_alike_by_both_ways(tmp_path):
    folder = tiny_checkpoints.make_qwen2_5_vl(tmp_path / "model", 1)
    scores = {}
    for backend in bridged.BACKENDS:
        model = eagle_jax.load(folder, backend=backend)
        assert model.backend == backend
        scores[backend] = np.log(ask(model).scorer(SETS))
    assert abs(scores["port"] - scores["port"][0]).max() > 0.5, "the image must matter"
    np.testing.assert_allclose(scores["bridge"], scores["port"], atol=2e-5)


@pytest.mark.parametrize("make", [tiny_llava.make_llava, tiny_internvl.make_internvl])
def test_pixels_of_ported_families_are_prepared_on_the_device(make, tmp_path):
    model = eagle_jax.load(make(tmp_path / "model"), backend="bridge")
    plan = plan_pixels(draw(0), LABELS, model.image_settings)
    assert len(plan.views), "the processor's pixels are others"
