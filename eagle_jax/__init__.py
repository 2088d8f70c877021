"""Where a multimodal language model looked, and what it relied on.

    import eagle_jax

    model = eagle_jax.load("demo")
    attribution = eagle_jax.explain(model, "scene.png", "Describe the image.")

Importing this package is cheap; its names are loaded when first used.
"""

import importlib
from typing import Any

_HOMES = {
    "Attribution": "eagle_jax.results.attribution",
    "InputError": "eagle_jax.errors",
    "diagnose": "eagle_jax.diagnosis",
    "explain": "eagle_jax.explanation",
    "generate": "eagle_jax.scoring.generation",
    "load": "eagle_jax.scoring.model",
    "plot": "eagle_jax.reports",
    "scorer": "eagle_jax.explanation",
    "to_eagle": "eagle_jax.results.published",
}
_MODULES = ("demo", "kernels", "lists", "metrics", "models", "search")
__all__ = [*_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"eagle_jax.{name}")
    raise AttributeError(f"module 'eagle_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
