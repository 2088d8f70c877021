"""A list of questions, explained and evaluated from Python.

    python docs/examples/data_set.py [FOLDER]

Started again with the same folder it goes on where it was interrupted.
"""

import json
import sys
import tempfile
from pathlib import Path

import eagle_jax
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.lists import read_list
from eagle_jax.reports.evaluation_page import evaluation_text

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)

# One JSON object a line. With a box, `evaluate` also asks whether the explanation points there.
scene = draw_scene(eagle_jax.demo.IMAGE_SEED)
lines = [
    {
        "image": str(eagle_jax.demo.IMAGE),
        "prompt": f"Is there a {one.kind} in the image?",
        "answer": "Yes",
        "target": "Yes",
        "boxes": [one.box],
        "name": one.kind,
    }
    for one in scene.objects
]
path = folder / "questions.jsonl"
path.write_text("".join(json.dumps(line) + "\n" for line in lines))

settings = eagle_jax.Settings(model="demo", regions="grid:3x3")
summary = eagle_jax.run_list(read_list(path), folder / "results", settings)
print(
    f"{summary.finished} finished, {summary.before} of them before; {summary.forwards} forwards"
)
for failure in summary.failures:
    print(f"{failure.place}: {failure.reason}")

print(evaluation_text(eagle_jax.evaluate(folder / "results")))
