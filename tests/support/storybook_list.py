"""Short lists about drawn scenes, for tests of runs with the demo model."""

import json
from pathlib import Path

from PIL import Image

from eagle_jax.demo.scenes import draw_scene


def write_list(folder: Path, count: int, broken: dict[int, str] | None = None) -> Path:
    """Writes pictures and a list of questions of one length about them.

    Args:
      folder: made if missing.
      count: number of items.
      broken: lines to put in place of an item's, by its number from 0.

    Returns:
      The list. Every other item has a label, so that answers are regenerated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        scene = draw_scene(number)
        Image.fromarray(scene.image).save(folder / f"scene-{number}.png")
        entry = {
            "image": f"scene-{number}.png",
            "prompt": "Is there a cat in the image?",
            "boxes": [list(scene.objects[0].box)],
        }
        if number % 2:
            kinds = [item.kind for item in scene.objects]
            entry["label"] = "Yes" if "cat" in kinds else "No"
        lines.append((broken or {}).get(number, json.dumps(entry)))
    path = folder / "list.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
