"""Data flows one way: a room imports only from lower floors."""

import ast
import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = [
    ["errors", "display", "interrupts"],
    ["argument_types", "files"],
    ["metrics", "kernels"],
    ["inputs", "models"],
    ["scoring"],
    ["search", "lists"],
    ["results", "planning", "baselines", "demo"],
    ["reports"],
    ["explaining"],
    ["comparison", "live"],
    ["commands"],
    ["cli"],
]
# The package's face offers what these floors hold, for the two above.
FACE, ABOVE = "eagle_jax", ("eagle_jax.commands", "eagle_jax.cli")
# Within models/ the same holds.
LAYERS = [["layers"], ["checkpoints"], ["families"], ["bridge"]]


def _modules() -> dict[str, Path]:
    """Dotted name of every module of the package, as it is installed."""
    modules = {}
    for folder, name in (("eagle_jax", ""), ("models", "models."), ("kernels", "kernels.")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").as_posix()
            modules["eagle_jax." + name + inner.replace("/", ".")] = path
    return {name.removesuffix(".__init__"): path for name, path in modules.items()}


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
    return {one for one in found if one in MODULES}


GRAPH = {name: _imports(path) for name, path in MODULES.items() if name != FACE}


def _upward(floors: list[list[str]], inside: str) -> list[str]:
    """Imports between the rooms of a folder that do not lead to a lower floor."""
    floor = {f"{inside}.{room}": i for i, rooms in enumerate(floors) for room in rooms}

    def room(name: str) -> str | None:
        depth = inside.count(".") + 2
        return ".".join(name.split(".")[:depth]) if name.startswith(f"{inside}.") else None

    return [
        f"{name} imports {other}"
        for name, imported in GRAPH.items()
        for other in sorted(imported)
        if room(name) and room(other) and room(name) != room(other)
        if floor[room(name)] <= floor[room(other)]
    ]


def test_a_room_imports_only_from_lower_floors():
    assert _upward(FLOORS, "eagle_jax") == []


def test_no_room_below_the_commands_imports_the_face():
    found = [name for name, imported in GRAPH.items() if FACE in imported]
    assert [name for name in found if not name.startswith(ABOVE)] == []


def test_models_are_three_layers():
    assert _upward(LAYERS, "eagle_jax.models") == []


def test_few_files_stand_at_the_root():
    assert len(list((ROOT / "eagle_jax").glob("*.py"))) <= 12


def test_the_table_of_floors_in_contributing_is_the_one_tested_here():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text, re.MULTILINE)
    rooms = {int(floor): re.findall(r"`(\w+)(?:/|\.py)`", names) for floor, names in rows}
    assert {floor: sorted(names) for floor, names in rooms.items()} == {
        floor: sorted(names) for floor, names in enumerate(FLOORS, start=1)
    }


def test_the_time_model_of_plans_has_one_door():
    room = "eagle_jax.planning.utilisation"
    users = {
        (name, other)
        for name, imported in GRAPH.items()
        for other in imported
        if other.startswith(room) and not name.startswith(room)
    }
    assert users == {("eagle_jax.planning.estimate", room)}


def test_every_folder_of_the_package_is_installed():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    installed = settings["options"]["packages"].split()
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert {*installed} == folders - {"eagle_jax.__init__"} | {FACE}
