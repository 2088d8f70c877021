"""The architectures, one file each: configuration, modules, and key map of the checkpoints.

Used by `scoring`. Read `vision_language` first, the base of all models, then `llava`, one
family. `table` lists the families.
"""

from eagle_jax.models.families.table import FAMILIES as FAMILIES
from eagle_jax.models.families.vision_language import Family as Family
from eagle_jax.models.families.vision_language import VisionLanguageModel as VisionLanguageModel
