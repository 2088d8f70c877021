"""Floating-point operations of layers, a multiplication and an addition being two.

Norms, activations and rotations are not counted.
"""


def plain_tower_flops(embed: int, mlp: int, layers: int, inputs: int, patches: int) -> float:
    """A vision tower of full attention and two-layer MLPs over patches and a class token.

    Args:
      embed: size of a patch's features.
      mlp: inner size of the MLPs.
      layers: number of layers.
      inputs: numbers of one patch before it is embedded.
      patches: number of patches.
    """
    tokens = patches + 1
    linear = 2 * tokens * embed * (4 * embed + 2 * mlp)
    patch_embed = 2 * patches * inputs * embed
    return patch_embed + layers * (linear + 4 * embed * float(tokens) ** 2)
