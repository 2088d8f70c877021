"""Regions of your own: which object does a word rest on?

    python docs/examples/own_label_map.py

Any integer map of the picture's size will do, of whatever makes such maps: a segmentation
model, annotations, a grid. Here every object of the bundled scene is a region, and what is
left is one more.
"""

import numpy as np

import eagle_jax
from eagle_jax.demo.scenes import draw_scene

scene = draw_scene(eagle_jax.demo.IMAGE_SEED)
labels = np.zeros(scene.image.shape[:2], np.int32)
for number, one in enumerate(scene.objects, start=1):
    labels[one.mask] = number
names = ["background", *(one.kind for one in scene.objects)]

model = eagle_jax.load("demo")
case = eagle_jax.ask(model, scene.image, "Describe the image.", target="boat", regions=labels)
found = eagle_jax.explain(case)

print(case.answer)
print("regions, most important first   p(boat) with only these   without these")
taken = zip(found.order, found.insertion[1:, 0], found.deletion[1:, 0], strict=True)
for region, shown, hidden in taken:
    print(f"+ {names[region]:<30}{shown:>24.3f}{hidden:>16.3f}")
