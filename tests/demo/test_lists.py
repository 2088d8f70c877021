"""Storybook lists: the same every time, true to their scenes, and asked about what is there."""

import json

import numpy as np
import pytest

import eagle_jax
from eagle_jax import InputError
from eagle_jax.demo.lists import draw_list, write_storybook
from eagle_jax.demo.questions import colour_answer, named, read_caption
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.inputs.images import read_image
from eagle_jax.lists import read_list


@pytest.fixture(scope="module")
def demo():
    return eagle_jax.load("demo")


@pytest.fixture(scope="module")
def written(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("storybook")
    return folder, write_storybook(folder, demo, captions=6, colours=6, mistakes=4)


def scene_of(item):
    return draw_scene(int(item.image.stem))


def items_of(written, name):
    return read_list(written[1].lists[name])


def test_lists_hold_what_was_asked_for(written):
    assert written[1].items == {"captions": 6, "words": 6, "colours": 6, "mistakes": 4}
    names = []
    for name, path in written[1].lists.items():
        found = read_list(path)
        assert len(found) == written[1].items[name]
        names += [item.name for item in found]
    assert len(set(names)) == 22


def test_pictures_and_masks_are_those_of_the_scenes(written):
    for name in ("words", "colours"):
        for item in items_of(written, name):
            scene = scene_of(item)
            (there,) = [one for one in scene.objects if one.kind == item.category]
            np.testing.assert_array_equal(read_image(item.image), scene.image)
            np.testing.assert_array_equal(item.object_mask(168, 168), there.mask)
            assert item.boxes == (there.box,)


def test_words_name_what_the_caption_names_and_the_scene_shows(written):
    captions = {item.image: item.answer for item in items_of(written, "captions")}
    for item in items_of(written, "words"):
        assert item.answer == captions[item.image] and item.target == item.category
        assert [kind for _, kind in read_caption(item.answer)].count(item.target) == 1
        assert item.target in [kind for _, kind in named(scene_of(item))]


def test_colours_are_right_answers(written):
    for item in items_of(written, "colours"):
        assert (item.target, item.category) in named(scene_of(item))
        assert item.answer == colour_answer(item.category, item.target)


def test_mistakes_ask_for_the_other_answer(written):
    found = items_of(written, "mistakes")
    assert [item.answer for item in found] == ["Yes", "No"] * 2
    for item in found:
        kinds = [kind for _, kind in named(scene_of(item))]
        assert item.label == ("Yes" if item.category in kinds else "No") != item.answer
        assert item.target == (0,) and item.target_ids == (item.label,)
        assert (item.mask is None) == (item.label == "No")


def test_the_same_arguments_give_the_same_files(written, demo, tmp_path):
    write_storybook(tmp_path, demo, captions=6, colours=6, mistakes=4)
    for path in sorted(written[0].rglob("*")):
        other = tmp_path / path.relative_to(written[0])
        assert path.is_dir() or other.read_bytes() == path.read_bytes(), path


def test_a_moved_folder_still_reads(written, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.symlink_to(written[0])
    lines = (moved / "words.jsonl").read_text().splitlines()
    assert all(not json.loads(line)["image"].startswith("/") for line in lines)
    assert len(read_list(moved / "words.jsonl")) == 6


def test_sets_without_items_have_no_list(demo, tmp_path):
    found = write_storybook(tmp_path, demo, captions=0, colours=0, mistakes=1)
    assert list(found.lists) == ["mistakes"] and not (tmp_path / "captions.jsonl").exists()


def test_refusals_name_what_was_wrong(demo, tmp_path):
    with pytest.raises(InputError, match="must not be negative"):
        write_storybook(tmp_path, demo, captions=-1)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make"):
        write_storybook(tmp_path / "file", demo, captions=0, colours=0, mistakes=0)


def test_one_list_is_drawn_once_and_is_that_of_the_storybook(written, tmp_path):
    path = draw_list("colours", 6, tmp_path / "drawn")
    assert path.read_bytes() == written[1].lists["colours"].read_bytes()
    before = path.stat().st_mtime_ns
    assert draw_list("colours", 6, tmp_path / "drawn") == path
    assert path.stat().st_mtime_ns == before
    words = read_list(draw_list("words", 2, tmp_path / "words"))
    assert [one.name for one in words] == [one.name for one in items_of(written, "words")[:2]]
    with pytest.raises(InputError, match="has the lists captions, words, .*; 'wordz' is none"):
        draw_list("wordz", 2, tmp_path)
    with pytest.raises(InputError, match="at least 1 item, not 0"):
        draw_list("words", 0, tmp_path)
