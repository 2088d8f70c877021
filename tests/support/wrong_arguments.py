"""Calls public functions with wrong arguments; prints what was neither done nor refused.

    python tests/support/wrong_arguments.py

A program of its own, because the tests check all annotations at run time, which users do not.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import sys
import tempfile
import traceback
import types
import typing
import warnings
from pathlib import Path

import numpy as np
from made_attributions import made_attribution
from made_results import made_result, write_run

import eagle_jax
from eagle_jax.comparison import Perturbation
from eagle_jax.explaining.diagnosis import Diagnosis
from eagle_jax.inputs.patches import soft_patches
from eagle_jax.inputs.prompt import Dialogue
from eagle_jax.lists.prompts import yes_no_prompt
from eagle_jax.metrics.reliance import WordReliance
from eagle_jax.reports.page import Explanation
from eagle_jax.scoring import answers, scorer
from eagle_jax.search import Limits, Objective
from eagle_jax.search.sets import prefixes

ROOMS = ["eagle_jax"] + [
    f"eagle_jax.{room}"
    for room in (
        *("baselines", "comparison", "explaining", "inputs", "kernels", "lists", "live"),
        *("metrics", "planning", "reports", "reports.page", "results", "scoring", "search"),
        *("metrics.faithfulness", "metrics.hallucination", "metrics.localisation"),
        *("metrics.reliance", "metrics.statistics", "metrics.word_classes"),
    )
]
WRONG = {
    "None": None,
    "bytes": b"bytes",
    "int": 7,
    "negative": -1,
    "huge": 10**30,
    "nan": float("nan"),
    "infinite": float("inf"),
    "True": True,
    "empty": "",
    "text": "text",
    "surrogate": "a\ud800b",
    "NUL": "a\0b",
    "list": ["x"],
    "nested": [[1], [2, 3]],
    "no list": [],
    "dict": {1: 2},
    "object": object(),
    "class": int,
    "function": len,
    "complex": np.full((2, 2), 1j),
    "scalar": np.float64("nan"),
    "no array": np.zeros((0, 0)),
}
# Methods without arguments.
NO_ARGUMENTS = {"Attribution.summary", "Diagnosis.plot", "Diagnosis.summary"}
# Made by the package and never by users, or a pytree, which JAX makes of anything.
RESULTS = {
    *("Built", "Column", "Comparison", "Cost", "InputError", "Interval", "ItemMeasures"),
    *("LeftOut", "Model", "Paired", "Plan", "Progress", "Ranking", "RunSummary", "Scorer"),
    *("SearchResult", "Word", "WordReliance"),
}


class Reached(Exception):
    """All arguments were accepted; the work itself would take too long."""


def reached(*args, **kwargs):
    raise Reached


class Toy:
    """A scorer without a model."""

    regions = 4

    def __call__(self, visible):
        return visible[:, :1] * np.float32(0.5) + np.float32(0.25)


def public() -> dict[str, typing.Callable]:
    """Public functions and classes by name, and the methods of the classes."""
    found: dict[str, typing.Any] = {"Diagnosis": Diagnosis, "Dialogue": Dialogue}
    found["prefixes"], found["yes_no_prompt"] = prefixes, yes_no_prompt
    for room in ROOMS:
        module = importlib.import_module(room)
        for name, value in ((name, getattr(module, name)) for name in dir(module)):
            if room == "eagle_jax" and name not in module.__all__ or name[0] == "_":
                continue
            if getattr(value, "__module__", "").startswith(room) and callable(value):
                found[name] = value
    for name, value in [*found.items()]:
        if isinstance(value, type) and name not in RESULTS:
            for part, method in vars(value).items():
                takes = isinstance(method, types.FunctionType | classmethod)
                if part[0] != "_" and takes and f"{name}.{part}" not in NO_ARGUMENTS:
                    found[f"{name}.{part}"] = getattr(value, part)
    return {name: value for name, value in found.items() if name not in RESULTS}


def valid(folder: Path) -> dict[str, dict[str, typing.Any]]:
    """Arguments that every public function accepts."""
    model = eagle_jax.load("demo")
    image = np.full((168, 168, 3), 90, np.uint8)
    asked = {"image": image, "prompt": "Is there a dog in the image?"}
    case = eagle_jax.ask(model, **asked, answer="Yes.", regions="grid:2x2")
    attribution = made_attribution(answer=("Yes", "<|im_end|>"))
    valued = np.full((2, attribution.regions), 0.1, np.float32)
    valued = dataclasses.replace(attribution, values=valued, errors=valued)
    item = eagle_jax.lists.Item("a", "line 1", folder / "a.png", "Describe the image.")
    result = made_result()
    write_run(folder / "run", [result])
    attribution.save(folder / "saved")
    (folder / "list.jsonl").write_text('{"image": "a.png", "prompt": "What?"}')
    order, curve, points = np.arange(4), np.linspace(0.1, 1, 5), np.zeros(5, bool)
    labels, square = np.arange(16).reshape(4, 4) // 4, np.eye(4, dtype=bool)
    heat, area, rows = labels / 4.0, np.linspace(0, 1, 5), np.ones((5, 2)) * curve[:, None]
    visible, factors = np.ones((1, 4), bool), np.ones((1, 4), np.float32)
    curves = eagle_jax.curves_along(Toy(), order)
    shown = {"mask": square, "saliency": heat, "labels": labels, "order": order}
    word = WordReliance("dog", "content", 0.5, 0.5, 1.0)
    pure = {"network": model.network, "question": case.question}
    settings = {"max_new_tokens": 2, "system": None, "thinking": None}
    heads, turns = np.ones((1, 4, 2, 8), np.float32), np.ones((4, 4), np.float32)
    method = eagle_jax.methods()["rise"]
    listed = {"entries": [], "out": folder / "new", "settings": eagle_jax.Settings()}
    diagnosis = Diagnosis("Is it?", "No", "Yes.")

    def fields(record: typing.Any, *names: str) -> dict[str, typing.Any]:
        found = record if isinstance(record, dict) else {}
        found = found or (record._asdict() if isinstance(record, tuple) else vars(record))
        return {name: found[name] for name in names or found if name[0] != "_"}

    return {
        "Attribution": fields(made_attribution(), *ATTRIBUTED),
        "Attribution.load": {"folder": folder / "saved"},
        "Attribution.map_errors": {"self": valued, "target": [0]},
        "Attribution.map": {"self": attribution, "target": [0], "by": "order"},
        "Attribution.part": {"self": attribution, "target": [0]},
        "Attribution.plot": {"self": attribution, "target": [0]},
        "Attribution.report": {"self": attribution, "path": folder / "page.html"},
        "Attribution.require_image": {"self": attribution},
        "Attribution.save": {"self": attribution, "folder": folder / "saved"},
        "Attribution.with_image": {"self": attribution, "source": attribution.image},
        "Broken": {"place": "line 1", "reason": "damaged"},
        "Case": fields(case, *(each.name for each in dataclasses.fields(case))),
        "Curves": fields(curves),
        "Dialogue": fields(Dialogue()),
        "Diagnosis": fields(diagnosis, "prompt", "label", "before"),
        "Diagnosis.save": {"self": diagnosis, "folder": folder / "diagnosis"},
        "Explanation": {"name": "a", "attribution": attribution},
        "Item": fields(item),
        "Item.object_mask": {"self": item, "height": 4, "width": 4},
        "ItemResult": fields(result),
        "ItemResult.with_image": {"self": result},
        "Limits": fields(Limits()),
        "Limits.require_budget": {"self": Limits(budget=50), "regions": 4},
        "Method": fields(method),
        "Objective": fields(Objective()),
        "Objective.value": {"self": Objective(), "shown": rows, "hidden": rows},
        "Perturbation": {"partition": "grid:7x7", "fill": "black"},
        "Round": {"sets": visible},
        "Settings": fields(eagle_jax.Settings()),
        "Solution": {"curves": curves},
        "ask": {"model": model, **asked, "answer": "Yes.", **settings, "regions": 4},
        "attention": {"query": heads, "key": heads, "value": heads},
        "auroc": {"positive": curve, "negative": curve},
        "average_minimal_correction": {"corrections": curve},
        "average_precision": fields(shown, "labels", "order", "mask"),
        "best_iou": fields(shown, "labels", "order", "mask"),
        "bootstrap_interval": {"values": curve, "resamples": 10, "seed": 0},
        "box_mask": {"boxes": [(0, 0, 2, 2)], "height": 4, "width": 4},
        "build_list": {"model": model, **listed, "settings": None, "out": folder / "b.jsonl"},
        "build_prompt": {
            "tokenizer": model.tokenizer,
            "text": "What?",
            "image_tokens": 9,
            "image_token_id": model.network.config.image_token_id,
        },
        "compare_methods": {**listed, "methods": ["eagle"], "out": folder / "comparison"},
        "convert": {"source": "demo", "destination": folder / "converted", "dtype": "x"},
        "correction_success_rate": {"corrections": curve},
        "curves_along": {"scorer": Toy(), "order": order},
        "deletion_auc": {"area": area, "curve": curve},
        "diagnose": {"model": model, **asked, "label": "No", "regions": 4, **settings},
        "encode_answer": {"tokenizer": model.tokenizer, "answer": "Yes."},
        "evaluate": {"out": folder / "run"},
        "expected_hit": fields(shown, "saliency", "mask"),
        "explain": {"asked": case},
        "export_run": {"out": folder / "run", "folder": folder / "exported"},
        "find_orders": {"scorers": [Toy()]},
        "generate": {"model": model, **asked, **settings},
        "highest_confidence": {"insertion": curve},
        "insertion_auc": {"area": area, "curve": curve},
        "judge": {
            "model": model,
            "attribution": attribution,
            "perturbation": Perturbation("region", "black"),
        },
        "kept_regions": {"right": points},
        "load": {"source": "demo", "dtype": "x"},
        "local_mesh": {"split_weights": 1},
        "log_probability": {"curves": rows},
        "log_score": {**pure, "visible": visible},
        "log_score_patches": {**pure, "patches": soft_patches(case.question.plan, factors)},
        "find_phrase": {"text": "a cat", "phrase": "cat"},
        "image_share": {
            "answer_tokens": ("a", " cat"),
            "positions": np.array([0, 1]),
            "full": np.array([0.9, 0.8]),
            "blank": np.array([0.9, 0.1]),
        },
        "masked_patches": {"plan": case.question.plan, "visible": visible},
        "mean_over_tokens": {"curves": rows, "tokens": np.array([True, False])},
        "measure": {"result": result},
        "methods": {},
        "minimal_correction": {"area": area, "right": points},
        "normalised_auc": {"auc": curve, "full": curve, "blank": curve / 2},
        "page_bytes": {"explanations": [Explanation("a", attribution)]},
        "paired_difference": {"first": curve, "second": area},
        "perception_auroc": {"answer_words": [word]},
        "phrase_tokens": {"tokens": ("a", " cat"), "phrase": "cat"},
        "plan": {"topology": "h100", "regions": 16},
        "plan_image": {
            "image": image,
            "labels": np.zeros((168, 168), np.int32),
            "settings": model.image_settings,
        },
        "plot": {"attribution": attribution, "target": [0]},
        "pointing_game": fields(shown, "labels", "order", "mask"),
        "prefixes": {"order": order},
        "prompt_difference": {
            "recorded_ids": [1, 2],
            "built_ids": [1, 3],
            "tokenizer": model.tokenizer,
        },
        "published_map": {"labels": labels, "order": order, "objective": order / 4, "start": 0},
        "published_models": {},
        "published_pointing_game": fields(shown, "saliency", "mask"),
        "published_yes_or_no": {"text": "Yes."},
        "rank_regions": {"asked": [Toy()], "method": "rise", "options": {"samples": 8}},
        "read_explanation": {"folder": folder / "saved"},
        "read_image": {"source": image},
        "read_list": {"path": folder / "list.jsonl"},
        "read_results": {"out": folder / "run"},
        "region_means": {"labels": labels, "heat": heat},
        "region_point": {"region": square},
        "relevance_mass": fields(shown, "saliency", "mask"),
        "report": {"shown": attribution, "path": folder / "page.html"},
        "report_frame": {"attribution": attribution},
        "report_run": {"run": folder / "run", "out": folder / "pages"},
        "right_answers": {"answers": ["Yes.", "No."], "label": "Yes"},
        "rms_norm": {"x": heads, "scale": np.ones(8, np.float32), "eps": 1e-6},
        "rotate": {"x": heads, "rotation": (turns, turns)},
        "run_list": {**listed, "out": folder / "new-run"},
        "score": {**pure, "visible": visible},
        "segment": {"image": image, "regions": 4},
        "sensitive_tokens": {"full": curve, "blank": curve / 2},
        "sentence_range": {"reliance": curve},
        "sentence_scale": {"reliance": curve},
        "serve": {"model": reached, "port": 0},
        "soft_patches": {"plan": case.question.plan, "mask": factors},
        "to_eagle": {"attribution": attribution, "folder": folder / "eagle", "name": "a"},
        "token_reliance": {"area": area, "insertion": rows},
        "unsplit": {"whole": True},
        "word_class": {"word": "dog"},
        "word_reliance": {
            "answer_tokens": ("A", " dog"),
            "positions": np.arange(2),
            "reliance": curve[:2],
        },
        "words": {"tokens": ("A", " dog")},
        "write_list": {"path": folder / "written.jsonl", "items": [item]},
        "yes_no_prompt": {"question": "Is it?"},
        "yes_or_no": {"text": "Yes."},
    }


ATTRIBUTED = [field.name for field in dataclasses.fields(eagle_jax.Attribution) if field.init]


def outcome(function: typing.Callable, arguments: dict[str, typing.Any]) -> str | None:
    """What is wrong with the answer to these arguments; None if nothing is."""
    hidden = io.StringIO()
    try:
        with contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden):
            result = function(**arguments)
            if isinstance(result, types.GeneratorType):
                list(result)
            if isinstance(result, contextlib.AbstractContextManager):
                with result:
                    pass
    except Reached:
        return None
    except eagle_jax.InputError as error:
        text = str(error)
        return None if "\n" not in text and len(text) <= 320 else f"long: {text}"
    except BaseException as error:
        places = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({places.filename}:{places.lineno})"[:400]
    return None


def main() -> None:
    warnings.simplefilter("ignore")
    scorer.score_sets = answers._decode = reached
    failures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        arguments, functions = valid(folder), public()
        for name in sorted(functions.keys() | arguments.keys()):
            if name not in functions or name not in arguments:
                failures.append(f"{name}: in one table only")
                continue
            if len(sys.argv) > 1 and name not in sys.argv[1:]:
                continue
            function, given = functions[name], arguments[name]
            parameters = inspect.signature(function).parameters
            given = {key: value for key, value in given.items() if key in parameters}
            if problem := outcome(function, given):
                failures.append(f"{name} as it should be: {problem}")
            for parameter in parameters:
                own = "Callable" in str(parameters[parameter].annotation)
                for kind, wrong in WRONG.items() if parameter != "self" else ():
                    if own and (
                        kind == "class" or kind == "function" and parameter != "search"
                    ):
                        continue  # A callable's own errors are its author's.
                    if problem := outcome(function, given | {parameter: wrong}):
                        failures.append(f"{name}, {parameter} {kind}: {problem}")
    print("\n".join(failures))


if __name__ == "__main__":
    main()
