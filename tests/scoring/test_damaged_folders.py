"""Damaged and odd checkpoints: each loads as in transformers, or is refused in a line."""

import shutil

import damage
import damaged_folders
import pytest

import eagle_jax.scoring.model as loading

# Files that say how the network computes; all others say how it is asked.
_OF_NETWORK = ("/config.json", ".safetensors", ".index.json")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    damaged_folders.bases(folder / "bases")
    return folder


def check(seed, root, capture, monkeypatch, scores):
    """Compares one folder; `scores` says whether the networks are run as well."""
    case = damaged_folders.make_case(seed, root)
    whole = case.file == damaged_folders.LAYOUT
    of_network = whole or f"/{case.file}".endswith(_OF_NETWORK)
    if scores and not (of_network or case.file == "generation_config.json"):
        return
    with monkeypatch.context() as patch:
        if not (of_network or scores):
            # Their tensors are whole, and reading them takes half of the time.
            patch.setattr(loading, "load_weights", lambda folder, skeleton, *_: skeleton)
        with damage.quietly(capture):
            found = damaged_folders.ours(case)
    assert not (whole and isinstance(found, str)), f"{case.said}: {found}"
    if not isinstance(found, str):
        compare = [damaged_folders.token_difference, damaged_folders.pixel_difference]
        compare = [damaged_folders.score_difference] if scores else compare
        for difference in compare:
            try:
                said = difference(case, found)
            except Exception:  # transformers does not read the folder
                continue
            assert not said, said
    shutil.rmtree(case.folder)


@pytest.mark.parametrize("seeds", damage.blocks(500, 25), ids=str)
def test_damaged_folders(seeds, root, capfd, monkeypatch):
    for seed in seeds:
        try:
            check(seed, root, capfd, monkeypatch, scores=False)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.slow
@pytest.mark.parametrize("seeds", damage.blocks(40, 20), ids=str)
def test_scores_and_answers_of_damaged_folders(seeds, root, capfd, monkeypatch):
    for seed in seeds:
        try:
            check(seed + 100_000, root, capfd, monkeypatch, scores=True)
        except Exception as error:
            raise AssertionError(f"seed {seed + 100_000}: {error}") from error
