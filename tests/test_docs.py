"""What people read is true: its Python runs and prints what it says, its commands exist."""

import argparse
import contextlib
import functools
import importlib.util
import io
import itertools
import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

import eagle_jax
from eagle_jax import cli
from eagle_jax.baselines import METHODS
from eagle_jax.lists.reading import FORMATS
from eagle_jax.search import SEARCHES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
NUMBER = re.compile(r"-?\d+\.\d+")


class Block(NamedTuple):
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    matches = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, match.start()) + 2, *match.groups()) for match in matches]


def named(pages: list[Path]) -> list:
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


@pytest.fixture(scope="module", autouse=True)
def one_model():
    """The demo model is loaded once for all pages and examples."""
    from eagle_jax.explaining import loop

    load = functools.cache(eagle_jax.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eagle_jax, "load", load)
        patch.setattr(loop, "load", load)
        yield


WITH_PYTHON = [
    page for page in PAGES if any(block.language == "python" for block in blocks(page))
]


@pytest.mark.parametrize("page", named(WITH_PYTHON))
def test_python_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    printed = None
    for block in blocks(page):
        if block.language == "python":
            # Line numbers of a traceback are those of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
        elif block.language == "text" and printed:
            assert_alike(printed, block.text)
            printed = None
    assert not printed, f"{page.name} does not show all that it prints"


def assert_alike(printed: str, shown: str) -> None:
    """Equal but for the last digit of numbers."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        digits = len(theirs.partition(".")[2])
        assert float(ours) == pytest.approx(float(theirs), abs=1.01 * 10**-digits)


def test_the_example_of_three_regions_can_be_followed_by_hand():
    text = (ROOT / "docs" / "how-it-works.md").read_text("utf-8")
    scores = re.findall(r"^(-|L?M?R?) +([01]\.\d{4})$", text, re.MULTILINE)
    p = {frozenset(names.strip("-")): float(value) for names, value in scores}
    assert len(p) == 8
    rows = [
        [cell.strip(" *") for cell in line.strip("|").split("|")] + ["**" in line]
        for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]
    rows = [row for row in rows if row[0].isdigit()]
    taken, f = [], [p[frozenset()] + 1 - p[frozenset("LMR")]]
    for step in "123":
        values, chosen = {}, []
        for _, region, visible, shown, rest, hidden, value, bold in (
            row for row in rows if row[0] == step
        ):
            seen, left = frozenset(visible), frozenset(rest.strip("-"))
            assert seen == {*taken, region} and left == frozenset("LMR") - seen
            assert (float(shown), float(hidden)) == (p[seen], p[left])
            assert float(value) == pytest.approx(p[seen] + 1 - p[left], abs=1e-9)
            values[region] = float(value)
            chosen += [region] * bold
        assert values.keys() == frozenset("LMR") - {*taken}
        assert chosen == [max(values, key=values.get)]
        taken += chosen
        f.append(values[taken[-1]])
    curve = [p[frozenset(taken[:k])] for k in range(4)]
    auc = sum(a + b for a, b in itertools.pairwise(curve)) / 6
    steps = [after - before for before, after in itertools.pairwise(f)]
    second = steps[2] / (steps[1] + steps[2])
    for value in (auc, f[0], *steps, second):
        assert f"{value:.4f}" in text[text.rindex("```") :], value


def as_without_a_mesh(names):
    """The program on a mesh against NumPy over the same sets, scored on one device."""
    case = eagle_jax.ask(
        eagle_jax.load("demo"),
        names["case"].image,
        names["case"].prompt,
        answer=names["case"].answer_ids,
        target="boat",
        regions=names["case"].labels,
    )
    keys = jax.random.split(jax.random.key(0), names["ROUNDS"])
    shape = names["BATCH"], case.scorer.regions
    visible = np.concatenate([jax.random.bernoulli(key, 0.5, shape) for key in keys])
    p = case.scorer(visible)[:, 0]
    means = [p[seen].mean() - p[~seen].mean() for seen in visible.T]
    np.testing.assert_allclose(names["importances"], means, rtol=1e-4, atol=1e-5)


def adds_up(names):
    """Integrated gradients of the regions add up to log p(full) - log p(blank)."""
    blank, full = names["ends"][:, 0]
    assert names["added"].sum() == pytest.approx(full - blank, rel=0.01)


def counts_forwards(names):
    n = names["case"].scorer.regions
    attribution = names["attribution"]
    assert attribution.search == "one_look" and attribution.forwards == 4 * n + 2


def points_at_the_boat(names):
    assert names["names"][names["attribution"].order[0]] == "boat"


def finishes(names):
    assert names["summary"].finished == len(names["lines"]) and not names["summary"].failures


CHECKS = {
    "data_set": finishes,
    "gradient": adds_up,
    "own_label_map": points_at_the_boat,
    "own_search": counts_forwards,
    "sharded_pipeline": as_without_a_mesh,
}


@pytest.mark.parametrize("example", named(EXAMPLES))
def test_an_example_runs(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path / "out")])
    names = runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 3
    CHECKS[example.stem](names)


def shell_blocks(page: Path) -> str:
    return "\n".join(block.text for block in blocks(page) if block.language == "bash")


def command_lines(shell: str) -> list[list[str]]:
    """The arguments of every `eagle-jax` in lines for a shell."""
    text = re.sub(r"\$\{?\w+\}?", "1", shell.replace("\\\n", " "))
    commands = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        # A command in quotes, for another shell.
        commands += itertools.chain(*(command_lines(w) for w in words if "eagle-jax " in w))
        while "eagle-jax" in words:
            words = words[words.index("eagle-jax") + 1 :]
            ends = [i for i, word in enumerate(words) if word in ("&&", "|")]
            commands.append(words[: min(ends, default=len(words))])
    return commands


def parsers() -> dict[str, argparse.ArgumentParser]:
    (action,) = [
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return action.choices


def help_examples(parser: argparse.ArgumentParser) -> str:
    # Commands stand two blanks in, what is said of them six.
    return "\n".join(re.findall(r"^  (?! {4}[^ -])(.*)", parser.epilog, re.MULTILINE))


def every_command_line() -> list:
    lines = [
        (f"eagle-jax {name} --help", words)
        for name, parser in parsers().items()
        for words in command_lines(help_examples(parser))
    ]
    for page in PAGES:
        lines += [(page.name, words) for words in command_lines(shell_blocks(page))]
        # In a Kubernetes manifest the command is a list.
        lists = re.findall(r'\["eagle-jax".*?\]', page.read_text("utf-8"))
        lines += [(page.name, json.loads(text)[1:]) for text in lists]
    return [pytest.param(words, id=f"{where}: {shlex.join(words)}") for where, words in lines]


@pytest.mark.parametrize("words", every_command_line())
def test_a_command_line_is_understood(words):
    assert callable(cli._parser().parse_args(words).run)


@pytest.mark.parametrize("name", parsers())
def test_help_shows_an_example_and_says_the_defaults(name):
    parser = parsers()[name]
    assert any(words[0] == name for words in command_lines(help_examples(parser)))
    for action in parser._actions:
        assert action.help, action.dest
        if action.default not in (None, False, argparse.SUPPRESS):
            shown = str(action.default).removesuffix(".0")
            text = parser._get_formatter()._expand_help(action)
            assert f"default: {shown})" in text, action.dest


@pytest.mark.parametrize("page", named(PAGES))
def test_what_a_page_names_exists(page):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link
    for file in re.findall(r"^(?:\w+=\S+ )*python ([\w/]+\.py)", text, re.MULTILINE):
        assert (ROOT / file).is_file(), file
    for module in re.findall(r"python -m (eagle_jax[\w.]*)", text):
        assert importlib.util.find_spec(module), module
    top = "eagle_jax|models|kernels|tests|benchmarks|docs"
    for file in re.findall(rf"`((?:{top})/[\w./]*)`", text):
        assert (ROOT / file).exists(), file


def test_the_pages_know_every_public_name_search_list_and_room():
    paths = (ROOT / "eagle_jax").iterdir()
    rooms = [path.name if path.is_file() else f"{path.name}/" for path in paths]
    rooms = [room for room in rooms if room[0] != "_" and room != "py.typed"]
    for page, names in {
        "docs/interface.md": eagle_jax.__all__,
        "docs/methods.md": [*SEARCHES, *METHODS],
        "docs/data-sets.md": FORMATS,
        "CONTRIBUTING.md": rooms,
    }.items():
        text = (ROOT / page).read_text("utf-8")
        missing = [name for name in names if f"`{name}`" not in text]
        assert not missing, f"{page} does not name {missing}"


def test_the_readme_shows_how_to_install_and_test():
    text = (ROOT / "README.md").read_text("utf-8")
    assert 'python -m pip install -e ".[test]" && pytest\n' in text
