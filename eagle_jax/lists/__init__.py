"""Lists of questions about pictures: read, checked and built."""

from eagle_jax.lists.items import Broken as Broken
from eagle_jax.lists.items import Item as Item
from eagle_jax.lists.lines import write_list as write_list
from eagle_jax.lists.prompts import prompt_difference as prompt_difference
from eagle_jax.lists.reading import read_list as read_list
