"""Explains a list of questions and evaluates the explanations.

    python docs/examples/data_set.py [FOLDER]

An interrupted run resumes when the script is started again with the same folder.
"""

import json
import sys
import tempfile
from pathlib import Path

import eagle_jax
from eagle_jax.demo.scenes import draw_scene
from eagle_jax.lists import read_list
from eagle_jax.reports.evaluation_page import page

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)

# A list has one JSON object per line. With a box, `evaluate` also measures whether the
# explanation points at the object.
scene = draw_scene(eagle_jax.demo.IMAGE_SEED)
lines = [
    {
        "image": str(eagle_jax.demo.IMAGE),
        "prompt": f"Is there a {drawn.kind} in the image?",
        "answer": "Yes",
        "target": "Yes",
        "boxes": [drawn.box],
        "name": drawn.kind,
    }
    for drawn in scene.objects
]
path = folder / "questions.jsonl"
path.write_text("".join(json.dumps(line) + "\n" for line in lines))

settings = eagle_jax.Settings(model="demo", regions="grid:3x3")
summary = eagle_jax.run_list(read_list(path), folder / "results", settings)
print(
    f"{summary.finished} items finished ({summary.before} by earlier runs), "
    f"{summary.forwards} forwards"
)
for failure in summary.failures:
    print(f"{failure.place}: {failure.reason}")

print(page(eagle_jax.evaluate(folder / "results")))
