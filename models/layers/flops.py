"""Floating-point operations of layers.

A multiplication and an addition count as two. Norms, activations and rotations do not count.
"""


def plain_tower_flops(embed: int, mlp: int, layers: int, inputs: int, patches: int) -> float:
    """Operations of a tower of full attention and two-layer MLPs, with a class token.

    Args:
      embed: size of a patch's features.
      mlp: inner size of the MLPs.
      layers: number of layers.
      inputs: number of values of a patch before it is embedded.
      patches: number of patches.
    """
    tokens = patches + 1
    linear = 2 * tokens * embed * (4 * embed + 2 * mlp)
    patch_embed = 2 * patches * inputs * embed
    return patch_embed + layers * (linear + 4 * embed * float(tokens) ** 2)
