"""The package's face: names, their homes, and what each must have."""

import argparse
import ast
import dataclasses
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import eagle_jax
from eagle_jax import cli
from eagle_jax.scoring.case import AskSettings

# Commands whose function has another name.
TWINS = {
    "build": "build_list",
    "run": "run_list",
    "compare": "compare_methods",
    "export": "export_run",
}


def test_type_checkers_see_what_the_interpreter_does():
    tree = ast.parse(Path(eagle_jax.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {one.name: node.module for node in block.body for one in node.names}
    assert seen == eagle_jax._HOMES | dict.fromkeys(eagle_jax._MODULES, "eagle_jax")
    # "import x as x" says that a name is for others.
    assert all(one.asname == one.name for node in block.body for one in node.names)


def test_every_command_has_a_twin_in_python():
    (action,) = [
        one for one in cli._parser()._actions if isinstance(one, argparse._SubParsersAction)
    ]
    for command in action.choices:
        twin = TWINS.get(command, command)
        assert twin in eagle_jax.__all__, f"eagle-jax {command} has no twin in Python"
        assert isinstance(getattr(eagle_jax, twin), FunctionType)


def command_defaults(command: str) -> dict[str, object]:
    """The defaults of a command's arguments, by the name of the argument."""
    (action,) = [
        one for one in cli._parser()._actions if isinstance(one, argparse._SubParsersAction)
    ]
    return {one.dest: one.default for one in action.choices[command]._actions}


def python_defaults(function: Callable) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()
    assert not [one.name for one in parameters if one.kind is one.VAR_KEYWORD]
    return {one.name: one.default for one in parameters}


ASKED = AskSettings()._asdict()
SEARCHED = {"search": "auto", "insight_weight": 1.0, "necessity_weight": 1.0} | dict.fromkeys(
    ("budget", "seconds", "top_k", "stop")
)


@pytest.mark.parametrize("command", ["explain", "diagnose", "run", "compare"])
def test_commands_have_the_limits_weights_and_defaults_of_python(command):
    given = command_defaults(command)
    assert given | SEARCHED == given
    # Regions are text on the command line; rounding is an argument of runs alone.
    asked = ASKED | {"regions": "64"}
    assert given | {"published_rounding": False} | asked == given | {
        "published_rounding": False
    }


def test_explain_diagnose_and_settings_have_the_same_defaults():
    explain = python_defaults(eagle_jax.explain)
    assert explain | SEARCHED == explain
    # None is the default of `ask`, and tells whether an argument was given beside a case.
    assert explain | dict.fromkeys(ASKED) == explain
    diagnose = python_defaults(eagle_jax.diagnose)
    assert diagnose | SEARCHED | ASKED == diagnose
    settings = dataclasses.asdict(eagle_jax.Settings()) | {"batch_size": None}
    assert settings | SEARCHED | ASKED == settings
    ask = python_defaults(eagle_jax.ask)
    assert ask | ASKED == ask


def test_no_module_hides_a_public_name():
    # Importing eagle_jax.load, say, would put the module in the place of the function.
    modules = {one.name for one in pkgutil.iter_modules(eagle_jax.__path__)}
    assert "explaining" in modules
    assert not modules & eagle_jax._HOMES.keys()


def test_the_version_is_that_of_the_installed_package():
    assert eagle_jax.__version__ == importlib.metadata.version("eagle-jax")


def modules() -> list[ModuleType]:
    """All modules of the package; models and kernels lie in folders of their own."""
    return [
        importlib.import_module(one.name)
        for package in (eagle_jax, eagle_jax.models, eagle_jax.kernels)
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def public(module: ModuleType) -> dict[str, Callable]:
    """Functions and classes that a module defines for others."""
    return {
        f"{module.__name__}.{name}": value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and getattr(value, "__module__", None) == module.__name__
    }


EVERY = {name: value for module in modules() for name, value in public(module).items()}


def test_no_function_takes_more_than_six_arguments_by_position():
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    counts = {
        name: sum(
            one.kind in positional for one in inspect.signature(value).parameters.values()
        )
        for name, value in EVERY.items()
        if not isinstance(value, type)
    }
    # Compiled functions and those of the other two folders are among them.
    assert "eagle_jax.scoring.batches.score_sets" in counts
    assert "eagle_jax.models.layers.int8.int8_matmul" in counts
    assert {name: count for name, count in counts.items() if count > 6} == {}


def test_what_is_public_is_documented():
    assert [name for name, value in EVERY.items() if not value.__doc__] == []


CLASSES = [one for one in eagle_jax._HOMES if isinstance(getattr(eagle_jax, one), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_methods_of_a_public_class_are_documented(name):
    kinds = FunctionType | property | classmethod | staticmethod
    own = vars(getattr(eagle_jax, name)).items()
    methods = {one: value for one, value in own if one[0] != "_" and isinstance(value, kinds)}
    assert [one for one, value in methods.items() if not value.__doc__] == []
