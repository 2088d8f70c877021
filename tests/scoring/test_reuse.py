"""Reuse between images that are read tile after tile: the same scores, and how much is left."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import questions
import tiny_internvl
import torch_reference

from eagle_jax.inputs.reach import blocks_reached
from eagle_jax.models.families.internvl import InternVL
from eagle_jax.models.families.table import FAMILIES
from eagle_jax.scoring import reuse
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.reuse import changed_tiles, dictionary_order, in_chains

REGIONS, TILES, CAPACITY = 12, 13, 40
# Unoptimised machine code for the same arithmetic: these programs run a few times.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_internvl.make_internvl(tmp_path_factory.mktemp("reuse"), 1)


@pytest.fixture(scope="module")
def scorer(folder, make_image):
    """About a picture in 3 x 4 tiles and a thumbnail."""
    asked = questions.make_question(
        folder,
        make_image(3, 96, 128),
        questions.cells(1, 96, 128, REGIONS),
        reference=torch_reference.TorchReference(folder),
    )
    return asked.scorer(questions.load_network(folder), 1)


def a_step(*taken) -> np.ndarray:
    """What the exact search asks for once some regions are taken."""
    chosen = np.isin(np.arange(REGIONS), taken)
    shown = chosen | (np.arange(REGIONS) == np.flatnonzero(~chosen)[:, None])
    return np.concatenate([shown, ~shown])


RANDOM = np.random.default_rng(0).random((9, REGIONS)) < 0.5
SETS = {
    "a step": a_step(2, 7),
    "random": RANDOM,
    "repeated": RANDOM[[4, 1, 4, 4, 1]],
    "one": RANDOM[:1],
}


@pytest.fixture(scope="module")
def expected(scorer):
    """Each image by itself, from its first tile to its last token."""

    sets = np.concatenate([*SETS.values()])
    plain = quick_jit(functools.partial(score_sets.__wrapped__, batch_size=1, reuse=False))
    scores = plain(scorer.network, scorer.question.padded, sets, np.int32(len(sets)))
    assert np.ptp(scores, axis=0).max() > 0.05, "the masks do not matter"
    ends = np.cumsum([len(one) for one in SETS.values()])[:-1]
    return dict(zip(SETS, np.split(np.asarray(scores), ends), strict=True))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_sets_of_any_kind_score_as_each_by_itself(batch_size, scorer, expected, monkeypatch):
    # Each beginning is a decoder to compile.
    monkeypatch.setattr(reuse, "_MOST_BEGINNINGS", 3)
    work = collections.Counter()
    watch(monkeypatch, InternVL, "visual_tokens", lambda patches, _: "tiles", work)
    watch(monkeypatch, reuse, "resume", lambda x, *_: x.shape[1], work)
    program = quick_jit(functools.partial(score_sets.__wrapped__, batch_size=batch_size))
    targets = len(scorer.tokens)
    for name, sets in SETS.items():
        padded = np.pad(sets, ((0, CAPACITY - len(sets)), (0, 0)))
        found = program(scorer.network, scorer.question.padded, padded, np.int32(len(sets)))
        jax.effects_barrier()
        np.testing.assert_allclose(
            found[: len(sets), :targets], expected[name][:, :targets], rtol=0, atol=1e-5
        )
        assert work == expected_work(scorer.question, sets, batch_size), name
        work.clear()


def watch(monkeypatch, owner, method, name, work):
    """Counts the calls of a compiled program."""
    original = getattr(owner, method)

    def watched(self, *arguments):
        what = name(*arguments)
        jax.debug.callback(lambda: work.update([what]))
        return original(self, *arguments)

    monkeypatch.setattr(owner, method, watched)


def expected_work(question, sets, batch_size) -> collections.Counter:
    """How many tiles the vision tower sees, and how many tokens the decoder reads how often."""
    reached = np.asarray(blocks_reached(question.plan, REGIONS))
    letters = np.argsort(reached.argmax(axis=0), kind="stable")
    order = sorted(range(len(sets)), key=lambda i: sets[i, letters].tolist())
    order += order[-1:] * (-len(order) % batch_size)
    seen = sets[order][:, None] & reached
    seen = seen.reshape(-1, batch_size, TILES, REGIONS)
    work = collections.Counter()
    for i, batch in enumerate(seen):
        changed = np.ones((batch_size, TILES), bool)
        if i:
            changed = np.any(batch != seen[i - 1], axis=2)
        work["tiles"] += int(changed.sum())
        # The decoder begins at the first tile of each row of four.
        first = min([*np.flatnonzero(changed.any(axis=0)), 11])
        tokens = question.plan.tokens // TILES
        work[len(question.ids) - int(first) // 4 * 4 * tokens] += 1
    return work


def test_dictionary_order():
    # Regions 2, 0 and 1 are first seen in the tiles 0, 1 and 2.
    reached = jnp.array([[0, 0, 1], [1, 0, 1], [1, 1, 0]], bool)
    sets = jnp.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    assert dictionary_order(sets, jnp.int32(5), reached).tolist() == [4, 3, 1, 0, 2]
    assert dictionary_order(sets, jnp.int32(3), reached)[:3].tolist() == [1, 0, 2]
    changed = changed_tiles(sets[jnp.array([4, 3, 1, 0, 2])][:, None], reached)[:, 0]
    assert changed.astype(int).tolist() == [
        [1, 1, 1],
        [0, 0, 1],
        [1, 1, 1],
        [0, 1, 1],
        [0, 0, 1],
    ]


@pytest.mark.parametrize("count", [1, 7, 13, 18])
def test_each_part_of_a_batch_goes_through_a_run_of_neighbours(count, scorer):
    plan = scorer.question.plan
    sets = np.random.default_rng(count).random((20, REGIONS)) < 0.5
    places, batches, changed = in_chains(plan, jnp.asarray(sets), jnp.int32(count), 4, 2)
    assert batches.shape == (5, 4, REGIONS) and changed.shape == (5, 4, TILES)
    rows = np.asarray(batches).reshape(-1, REGIONS)
    np.testing.assert_array_equal(rows[places[:count]], sets[:count])
    turns = -(-count // 4)
    assert max(places[:count]) < 4 * turns
    reached = blocks_reached(plan, REGIONS)
    order = dictionary_order(jnp.asarray(sets), jnp.int32(count), reached)
    # Two devices with two images each: the first has read its half when the second begins.
    runs = np.asarray(batches)[:turns].reshape(turns, 2, 2, REGIONS).swapaxes(0, 1)
    neighbours = runs.reshape(-1, REGIONS)
    np.testing.assert_array_equal(neighbours[:count], sets[order[:count]])
    assert (neighbours[count:] == neighbours[count - 1]).all()


def test_only_tiles_can_be_read_apart(scorer):
    apart = {name: family.build.tiles_apart for name, family in FAMILIES.items()}
    assert apart == dict.fromkeys(FAMILIES, False) | {"internvl": True}
    # Images that are searched at once are scored each with what its own sets share.
    assert scorer.batch_key is None
