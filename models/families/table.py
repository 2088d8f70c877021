"""The table of families: a new family is one file, and one line here."""

from eagle_jax.models.families import internvl, llava, qwen2_5_vl, qwen2_vl, qwen3_vl
from eagle_jax.models.families.vision_language import Family

_ALL = (
    internvl.FAMILY,
    llava.FAMILY,
    qwen2_5_vl.FAMILY,
    qwen2_vl.FAMILY,
    qwen3_vl.FAMILY,
)
FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}
"""The families by the model_type of config.json."""
