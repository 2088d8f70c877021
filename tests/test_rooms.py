"""Data flows one way: a room imports only what stands on a lower floor."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = [
    ["metrics", "errors", "settings", "kernels"],
    ["inputs", "files", "models"],
    ["scoring"],
    ["search", "lists"],
    ["results", "planning", "baselines", "demo"],
    ["explanation", "evaluation", "conversion"],
    ["run", "comparison", "reports"],
    ["diagnosis"],
    ["commands"],
    ["cli"],
]
# Within models/ the same holds.
LAYERS = [["layers"], ["checkpoints"], ["families"]]


def _modules() -> dict[str, Path]:
    """Dotted name of every module of the package, as it is installed."""
    found = {}
    for folder, name in (("eagle_jax", ""), ("models", "models."), ("kernels", "kernels.")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").as_posix()
            found["eagle_jax." + name + inner.replace("/", ".")] = path
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    """Modules of the package that a file names in any import, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{one.name}" for one in node.names}
            found |= {one if one in MODULES else node.module for one in named}
    return {one for one in found if one in MODULES and one != "eagle_jax"}


GRAPH = {name: _imports(path) for name, path in MODULES.items() if name != "eagle_jax"}


def _check(floors: list[list[str]], place: int) -> list[str]:
    floor = {room: i for i, rooms in enumerate(floors) for room in rooms}
    wrong = []
    for name, imported in GRAPH.items():
        room = name.split(".")[place : place + 1]
        for other in imported:
            below = other.split(".")[place : place + 1]
            if (
                not room
                or not below
                or room == below
                or name.split(".")[:place] != other.split(".")[:place]
            ):
                continue
            if floor[below[0]] >= floor[room[0]]:
                wrong.append(f"{name} imports {other}")
    return sorted(wrong)


def test_a_room_imports_only_from_lower_floors():
    assert _check(FLOORS, 1) == []


def test_models_are_three_layers():
    assert [one for one in _check(LAYERS, 2) if one.startswith("eagle_jax.models")] == []
