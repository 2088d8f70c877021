"""What each ATen operation is in JAX: functions of arrays by the name of the operation.

A lowering takes the arguments of the operation's schema, arrays in place of tensors and NumPy
dtypes in place of PyTorch's. Its result is cast to the dtype that PyTorch says, so a lowering
may compute in any dtype that is at least as precise. No file here imports torch.
"""

from eagle_jax.models.bridge.lowerings import convolution as convolution
from eagle_jax.models.bridge.lowerings import elementwise as elementwise
from eagle_jax.models.bridge.lowerings import indexing as indexing
from eagle_jax.models.bridge.lowerings import normalisation as normalisation
from eagle_jax.models.bridge.lowerings import products as products
from eagle_jax.models.bridge.lowerings import reductions as reductions
from eagle_jax.models.bridge.lowerings import shapes as shapes
from eagle_jax.models.bridge.lowerings.table import LOWERINGS as LOWERINGS
