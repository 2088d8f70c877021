"""Damaged saved runs: each result is what was saved, or is refused in a line."""

import json
import random
import shutil

import damage
import damaged_results
import pytest

from eagle_jax.comparison.judging import Perturbation, judgement
from eagle_jax.errors import InputError
from eagle_jax.explaining.resuming import sort_entries
from eagle_jax.reports.page.explanations import read_explanation
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.evaluation import evaluate
from eagle_jax.results.failures import read_failures
from eagle_jax.results.manifest import Settings, begin_run, read_manifest
from eagle_jax.results.run_folder import read_item, read_result


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def begin(out):
    with begin_run(out, Settings(), "0123456789abcdef"):
        pass


def attempt(act, out):
    """What a function returns; None if it refuses the run in one line."""
    try:
        return act()
    except InputError as error:
        damage.require_line(error, out)
        return None


def check(case, whole):
    out, name = case.out, case.name
    attribution = attempt(lambda: Attribution.load(out / "items" / name), out)
    # A record whose digest was made anew is another attribution.
    if attribution is not None and "sealed" not in case.said:
        assert attribution == whole[name].attribution
    result = attempt(lambda: read_result(out, name), out)
    if result is not None:
        assert case.file == "item.json" or result.item == whole[name].item
        assert str(result.attribution) and result.attribution.saliency.size
        attempt(lambda: result.item.object_mask(40, 60), out)
    attempt(lambda: read_item(out, name), out)
    attempt(lambda: read_manifest(out), out)
    attempt(lambda: begin(out), out)
    attempt(lambda: read_explanation(out / "diagnosis"), out)
    items = [each.item for each in whole.values()]
    attempt(lambda: sort_entries(out, items), out)
    evaluation = attempt(lambda: evaluate(out), out)
    for _, why in (*read_failures(out), *(evaluation.damaged if evaluation else ())):
        damage.require_line(InputError(why), out)


@pytest.mark.parametrize("seeds", damage.blocks(200, 50), ids=str)
def test_damaged_runs(seeds, root, capfd):
    base = damaged_results.base(root / "base")
    whole = {name: read_result(base, name) for name in ("kite-0", "question-1")}
    for seed in seeds:
        case = damaged_results.make_case(seed, root)
        try:
            with damage.quietly(capfd):
                check(case, whole)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {case.file}: {case.said}: {error}") from error
        shutil.rmtree(case.out)


def test_damaged_judgements_of_a_comparison(tmp_path):
    perturbation, whole = Perturbation("region", "black"), {"insertion": 0.5, "deletion": 0.25}
    path = tmp_path / "judged" / perturbation.folder / "eagle" / "x.json"
    path.parent.mkdir(parents=True)
    for seed in damage.seeds(100):
        rng = random.Random(f"judgement {seed}")
        data = json.dumps(damage.damaged_value(rng, whole)[0]).encode()
        if rng.random() < 0.5:
            data, _ = damage.damaged_bytes(rng, json.dumps(whole).encode())
        path.write_bytes(data)
        found = attempt(lambda: judgement(tmp_path, perturbation, "eagle", "x"), tmp_path)
        assert found is None or [*map(type, found.values())] == [float, float]
