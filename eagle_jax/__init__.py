"""Where a multimodal language model looked, and what it relied on.

    import eagle_jax

    model = eagle_jax.load("demo")
    attribution = eagle_jax.explain(model, "scene.png", "Describe the image.")

Importing this package is cheap: names are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from eagle_jax import display

if TYPE_CHECKING:
    from eagle_jax import baselines as baselines
    from eagle_jax import demo as demo
    from eagle_jax import kernels as kernels
    from eagle_jax import lists as lists
    from eagle_jax import metrics as metrics
    from eagle_jax import models as models
    from eagle_jax import search as search
    from eagle_jax.baselines.methods import methods as methods
    from eagle_jax.comparison import compare_methods as compare_methods
    from eagle_jax.errors import InputError as InputError
    from eagle_jax.explaining import run_list as run_list
    from eagle_jax.explaining.diagnosis import diagnose as diagnose
    from eagle_jax.explaining.explanation import explain as explain
    from eagle_jax.inputs.patches import soft_patches as soft_patches
    from eagle_jax.lists.build import build_list as build_list
    from eagle_jax.live import serve as serve
    from eagle_jax.planning.estimate import plan as plan
    from eagle_jax.reports import plot as plot
    from eagle_jax.reports.page import report as report
    from eagle_jax.reports.page import report_frame as report_frame
    from eagle_jax.reports.page.run_pages import report_run as report_run
    from eagle_jax.results.attribution import Attribution as Attribution
    from eagle_jax.results.evaluation import evaluate as evaluate
    from eagle_jax.results.manifest import Settings as Settings
    from eagle_jax.results.published import to_eagle as to_eagle
    from eagle_jax.results.published_run import export_run as export_run
    from eagle_jax.scoring.answers import generate as generate
    from eagle_jax.scoring.case import Case as Case
    from eagle_jax.scoring.case import ask as ask
    from eagle_jax.scoring.conversion import convert as convert
    from eagle_jax.scoring.model import Model as Model
    from eagle_jax.scoring.model import load as load
    from eagle_jax.scoring.scorer import Scorer as Scorer
    from eagle_jax.scoring.set_function import log_score as log_score
    from eagle_jax.scoring.set_function import log_score_patches as log_score_patches
    from eagle_jax.scoring.set_function import score as score
    from eagle_jax.search.sets import Curves as Curves
    from eagle_jax.search.sets import curves_along as curves_along

# The same names for the interpreter, by module.
_NAMES = {
    "baselines.methods": "methods",
    "comparison": "compare_methods",
    "errors": "InputError",
    "explaining": "run_list",
    "explaining.diagnosis": "diagnose",
    "explaining.explanation": "explain",
    "inputs.patches": "soft_patches",
    "lists.build": "build_list",
    "live": "serve",
    "planning.estimate": "plan",
    "reports": "plot",
    "reports.page": "report report_frame",
    "reports.page.run_pages": "report_run",
    "results.attribution": "Attribution",
    "results.evaluation": "evaluate",
    "results.manifest": "Settings",
    "results.published": "to_eagle",
    "results.published_run": "export_run",
    "scoring.answers": "generate",
    "scoring.case": "Case ask",
    "scoring.conversion": "convert",
    "scoring.model": "Model load",
    "scoring.scorer": "Scorer",
    "scoring.set_function": "log_score log_score_patches score",
    "search.sets": "Curves curves_along",
}
_HOMES = {name: f"eagle_jax.{home}" for home, names in _NAMES.items() for name in names.split()}
_MODULES = ("baselines", "demo", "kernels", "lists", "metrics", "models", "search")
__all__ = [*_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"eagle_jax.{name}")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("eagle-jax")
    else:
        raise AttributeError(f"module 'eagle_jax' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


display.connect(__getattr__)
