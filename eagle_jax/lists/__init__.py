"""Lists of questions about images: read, checked and built.

For `run`, the commands and their users. Read `items` first: one question, as every format is
read into. `reading` recognises the format of a list, and `build` makes a list for a model.
"""

from eagle_jax.lists.items import Broken as Broken
from eagle_jax.lists.items import Item as Item
from eagle_jax.lists.lines import write_list as write_list
from eagle_jax.lists.prompts import prompt_difference as prompt_difference
from eagle_jax.lists.reading import read_list as read_list
