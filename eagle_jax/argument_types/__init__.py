"""Arguments of a wrong type, answered in one line.

For every public function and every class that users make. Read `checking` first, the decorator;
`rules` reads annotations, `values` checks single values.
"""

from eagle_jax.argument_types.checking import checked as checked
