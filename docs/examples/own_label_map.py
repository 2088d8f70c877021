"""Your own regions: which object does a word rely on?

    python docs/examples/own_label_map.py

Regions can be any integer map of the image's size, for example from a segmentation model or
from annotations. Here each object of the bundled scene is a region, and the background is
another region.
"""

import numpy as np

import eagle_jax
from eagle_jax.demo.scenes import draw_scene

scene = draw_scene(eagle_jax.demo.IMAGE_SEED)
labels = np.zeros(scene.image.shape[:2], np.int32)
for number, drawn in enumerate(scene.objects, start=1):
    labels[drawn.mask] = number
names = ["background", *(drawn.kind for drawn in scene.objects)]

model = eagle_jax.load("demo")
case = eagle_jax.ask(model, scene.image, "Describe the image.", target="boat", regions=labels)
attribution = eagle_jax.explain(case)

print(case.answer)
print("regions, most important first   p(boat) with only these   without these")
rows = zip(
    attribution.order, attribution.insertion[1:, 0], attribution.deletion[1:, 0], strict=True
)
for region, shown, hidden in rows:
    print(f"+ {names[region]:<30}{shown:>24.3f}{hidden:>16.3f}")
