"""The architectures: configuration, modules and names of the weights, one file each.

For `scoring`. Read `vision_language` first, what all models share, then `llava`. `table` lists
the families: a new one is one file like it and one line there.
"""

from eagle_jax.models.families.table import FAMILIES as FAMILIES
from eagle_jax.models.families.vision_language import Family as Family
from eagle_jax.models.families.vision_language import VisionLanguageModel as VisionLanguageModel
