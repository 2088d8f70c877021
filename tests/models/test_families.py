"""Every family against transformers' PyTorch class, on tiny random checkpoints."""

import families
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
import torch
from families import log_probabilities
from torch_reference import TorchReference

import eagle_jax
from eagle_jax.models.checkpoints.weights import read_config, save_weights
from eagle_jax.models.layers.decoding import generate
from eagle_jax.scoring.model import abstract_network

# Both sides round at different places; their errors were found within 11 % of each other.
_BFLOAT16_FACTOR = 1.25


@pytest.mark.parametrize(
    "name, kind, size",
    [(n, k, size) for n, k in families.CASES for size in families.FAMILIES[n].sizes],
)
def test_log_probabilities_equal_pytorch_at_all_positions(name, kind, size, cases, make_image):
    case = cases(name, kind)
    image = make_image(3, *size)
    ids, arguments = case.forward(image)
    ours = log_probabilities(case.model, ids, *arguments)[0]
    theirs = case.reference.log_probabilities(ids, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@families.every_case
def test_pixels_and_their_places_move_the_answer(name, kind, cases, make_image):
    # Without this the parity tests above would prove little.
    case = cases(name, kind)
    image = make_image(3, *case.family.sizes[0])
    ids, (patches, layout, positions, start) = case.forward(image)

    def tail(patches, positions):
        return log_probabilities(case.model, ids, patches, layout, positions, start)[0, -8:]

    seen = tail(patches, positions)
    others = [tail(0 * patches, positions), tail(patches[:, ::-1], positions)]
    plain = np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))
    if not np.array_equal(positions, plain):
        others += [tail(patches, plain), tail(patches, positions[[0, 2, 1]])]
    for moved in others:
        assert np.abs(seen - moved).max() > 0.1


@families.quick_jit
def answer(model, ids, patches, layout, positions, start, length, ends):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return generate(model, embeddings, positions, length, ends, 32)[0]


@families.every_case
def test_generated_tokens_equal_pytorch(name, kind, cases, make_image):
    case = cases(name, kind)
    image = make_image(4, *case.family.sizes[0])
    ids, (patches, layout, positions, start) = case.forward(image, answer="")
    # Padded, as the program that explains does: what stands there must not matter.
    padded, there = np.pad(ids, (0, 7)), np.pad(positions, ((0, 0), (0, 7)))
    arguments = padded, patches, layout, there, start, np.int32(len(ids))
    theirs = case.reference.generate(ids, image, 32, stop=False)
    assert len(theirs) == 32
    ours = answer(case.model, *arguments, np.array([-2]))
    np.testing.assert_array_equal(ours, theirs)

    first = int(np.flatnonzero(theirs == theirs[5])[0])
    ours = np.asarray(answer(case.model, *arguments, theirs[5:6]))
    np.testing.assert_array_equal(ours[: first + 1], theirs[: first + 1])
    assert np.all(ours[first + 1 :] == -1)


@families.quick_jit
def target_log_probabilities(model, ids, patches, layout, positions, start, rows, targets):
    embeddings = model.embed(ids, model.visual_tokens(patches, layout), start)
    return model.log_probabilities(model.hidden_states(embeddings, positions, rows), targets)[0]


@families.every_case
def test_last_layer_at_target_rows_equals_the_full_path(name, kind, cases, make_image):
    case = cases(name, kind)
    image = make_image(3, *case.family.sizes[0])
    ids, arguments = case.forward(image)
    rows = np.array([len(ids) - 2, len(ids) - 6, len(ids) - 3])
    scores = target_log_probabilities(case.model, ids, *arguments, rows, ids[rows + 1])
    whole = log_probabilities(case.model, ids, *arguments)[0]
    np.testing.assert_allclose(scores, whole[rows, ids[rows + 1]], rtol=1e-5, atol=1e-5)


@families.every_family
def test_a_batch_of_images_equals_one_at_a_time(name, cases, make_image):
    case = cases(name)
    images = [make_image(seed, *case.family.sizes[0]) for seed in (7, 8)]
    patches = np.concatenate([case.forward(image)[1][0] for image in images])
    ids, (_, *rest) = case.forward(images[0])
    together = log_probabilities(case.model, ids, patches, *rest)
    for image, ours in zip(images, together, strict=True):
        theirs = case.reference.log_probabilities(ids, image)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@families.every_case
def test_key_layouts_load_alike_and_weights_survive_saving(name, kind, cases, tmp_path):
    case = cases(name, kind)
    for layout in case.family.layouts:
        folder = case.family.make(tmp_path / layout, 1, **case.options | {"layout": layout})
        _assert_equal(case.model, questions.load_network(folder))
    _, keys = abstract_network(read_config(case.folder), "config.json")
    save_weights(tmp_path, case.model, keys)
    (tmp_path / "config.json").write_text((case.folder / "config.json").read_text())
    _assert_equal(case.model, questions.load_network(tmp_path))


def _assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@families.every_family
def test_masked_scores_and_the_search_equal_pytorch(name, cases, make_image):
    # From the folder to the order: tokenizer, prompt, resize, patches, model, search.
    case = cases(name)
    size = case.family.sizes[0]
    image, labels = make_image(5, *size), questions.cells(5, *size, 8)
    # Its own answer: a random model gives a text of ours probabilities near zero.
    prompt, _ = case.forward(image, answer="")
    answer = case.reference.generate(prompt, image, 7, stop=False).tolist()
    model = eagle_jax.load(case.folder, dtype="float32")
    asked = eagle_jax.ask(model, image, families.PROMPT, answer=answer, regions=labels)
    scorer = asked.scorer
    ids = np.concatenate([prompt, answer])
    rows = np.arange(len(prompt) - 1, len(ids) - 1)

    def score(visible):
        return case.reference.score(ids, image, labels, visible, rows, ids[rows + 1])

    visible = np.random.default_rng(0).random((5, 8)) < 0.5
    for ours, shown in zip(scorer(visible), visible, strict=True):
        np.testing.assert_allclose(ours, score(shown), rtol=1e-4, atol=1e-6)
    questions.compare_searches(scorer, score)


@families.every_family
def test_bfloat16_is_as_near_to_float32_as_pytorchs(name, cases, make_image):
    case = cases(name)
    image = make_image(3, *case.family.sizes[0])
    ids, arguments = case.forward(image)
    theirs = TorchReference(case.folder, dtype=torch.bfloat16).log_probabilities(ids, image)
    exact = TorchReference(case.folder)
    with torch.no_grad():
        for parameter in exact.model.parameters():
            parameter.copy_(parameter.bfloat16())
    exact = exact.log_probabilities(ids, image)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), case.model)
    ours = log_probabilities(half, ids, *arguments)[0]
    assert ours.dtype == jnp.float32
    error, allowed = (np.sqrt(np.mean((one - exact) ** 2)) for one in (ours, theirs))
    assert error < _BFLOAT16_FACTOR * allowed
