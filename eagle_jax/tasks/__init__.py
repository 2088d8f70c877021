"""Lists of questions about pictures: read, checked and built."""

from eagle_jax.tasks.items import Broken as Broken
from eagle_jax.tasks.items import Item as Item
