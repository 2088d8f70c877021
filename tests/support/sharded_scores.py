"""Scores of one question on several meshes; run by test_sharding.py with 8 simulated devices.

    python tests/support/sharded_scores.py FOLDER DATAxMODEL[,DATAxMODEL...] [--answers]

Prints JSON, for no mesh and for each: the scores of a few sets, the answer, the order of the
exact search, the collectives inside the loop over batches, the parameters that are split, and,
if wanted, the answers with these sets visible. Where one of the meshes has two devices, it and
no mesh also give what the pure functions make of these sets, the maps of methods that take
gradients, and the memory that these need on each device.
"""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import eagle_jax
from eagle_jax.baselines.igos import Settings, composed, optimised_masks
from eagle_jax.baselines.integrated_gradients import patch_values
from eagle_jax.baselines.llava_cam import smooth_cam
from eagle_jax.baselines.maps import frames_of
from eagle_jax.inputs.patches import soft_patches
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.scoring.answers import regenerate
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.case import ask
from eagle_jax.scoring.gradients import gradient_batch_size
from eagle_jax.scoring.scorer import padded_regions
from eagle_jax.scoring.set_function import log_score_patches, score
from eagle_jax.search import find_orders

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
REGIONS = 6


def looped_collectives(program: str) -> list[str]:
    """Collectives in the bodies of a compiled program's loops and in what these call."""
    bodies: dict[str, str] = {}
    for part in re.split(r"\n(?=\S)", program):
        if named := re.match(r"(?:ENTRY )?%([\w.-]+) \(", part):
            bodies[named[1]] = part
    wanted = [name for text in bodies.values() for name in re.findall(r"body=%([\w.-]+)", text)]
    assert wanted, "the program has no loop"
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted += [n for n in re.findall(r"%([\w.-]+)", bodies[name]) if n in bodies]
    text = "\n".join(bodies[name] for name in seen)
    return [name for name in COLLECTIVES if re.search(rf"\b{name}(-start)?\(", text)]


def pure_functions(case, sets) -> dict[str, list]:
    """Scores of sets and a gradient at one of them, by plain JAX."""
    network, question = case.model.network, case.question
    mesh = mesh_of(network)

    def loss(mask):
        patches = soft_patches(question.plan, mask)
        return -log_score_patches(network, question, patches).mean()

    shown, masks = jnp.asarray(sets), jnp.asarray(sets, jnp.float32)
    if mesh is not None:
        shown, masks = jax.device_put(
            (shown, masks), NamedSharding(mesh, PartitionSpec("data"))
        )
    scores = jax.jit(score)(network, question, shown)
    assert scores.sharding.is_equivalent_to(shown.sharding, 2), "the scores are not spread"
    return {"score": scores.tolist(), "gradient": jax.jit(jax.grad(loss))(masks).tolist()}


def gradient_methods(case) -> dict[str, dict]:
    """Maps by gradients of batches, and temporary bytes on each device."""
    network, question = case.model.network, case.question.padded
    mesh, noise = mesh_of(network), (np.float32(2), jax.random.key(0))
    batch_size = gradient_batch_size(case.scorer, 16)
    whole = gradient_batch_size(case.scorer, 16, forwards=1)
    settings = Settings(frames_of(case), False, 2, 4, batch_size, mesh)
    steps = {"steps": 16, "batch_size": batch_size, "mesh": mesh}
    samples = {"samples": 16, "layer": 0, "batch_size": whole, "mesh": mesh}
    methods = {}
    for function, given, static in (
        (smooth_cam, noise, samples),
        (patch_values, (), steps),
        (optimised_masks, (composed(case, False), *noise), {"settings": settings}),
    ):
        program = function.lower(network, question, *given, **static).compile()
        methods[function.__name__] = {
            "map": program(network, question, *given).tolist(),
            "memory": program.memory_analysis().temp_size_in_bytes,
        }
    return methods


def main(folder: str, meshes: list[tuple[int, int]], answers: bool) -> list[dict]:
    rng = np.random.default_rng(3)
    image = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    labels = (np.arange(96)[:, None] // 48 * 3 + np.arange(128) // 43).astype(np.int32)
    sets = rng.random((11, REGIONS)) < 0.5
    two_devices = any(data * parts == 2 for data, parts in meshes)
    results = []
    for data, parts in [(0, 0), *meshes]:
        mesh = None
        if data:
            mesh = jax.make_mesh(
                (data, parts), ("data", "model"), devices=jax.devices()[: data * parts]
            )
        model = eagle_jax.load(folder, mesh=mesh)
        # The model's own answer: others have probabilities near zero.
        case = ask(
            model, image, "What is this?", regions=labels, batch_size=8, max_new_tokens=5
        )
        width = padded_regions(REGIONS)
        program = score_sets.lower(
            model.network,
            case.question.padded,
            np.zeros((2 * width, width), bool),
            np.int32(0),
            batch_size=8,
            mesh=mesh_of(model.network),
        ).compile()
        (found,) = find_orders([case.scorer])
        leaves = jax.tree_util.tree_leaves_with_path(model.network)
        result = {
            "scores": case.scorer(sets).tolist(),
            "answer": case.scorer.tokens,
            "order": found.curves.order.tolist(),
            "collectives": looped_collectives(program.as_text()),
            "split": [
                ".".join(str(getattr(key, "key", key)).strip(".") for key in path)
                for path, leaf in leaves
                if not leaf.sharding.is_fully_replicated
            ],
        }
        if answers:
            limits = {"max_new_tokens": 5, "settle": (), "batch_size": 8}
            result["regenerated"] = regenerate(
                model, image, labels, "What is this?", sets, **limits
            )
        if two_devices and data * parts in (0, 2):
            result |= pure_functions(case, sets[:8])
            result["gradients"] = gradient_methods(case)
            result["together"] = [
                each.curves.order.tolist()
                for each in find_orders([case.scorer] * 3, together=2)
            ]
        results.append(result)
    return results


if __name__ == "__main__":
    shapes = [tuple(map(int, shape.split("x"))) for shape in sys.argv[2].split(",")]
    print(json.dumps(main(sys.argv[1], shapes, "--answers" in sys.argv)))
