"""Models of transformers that nobody ported: PyTorch's modules inside a JAX program.

Tensors that follow from weights, pixels or the question are `traced.Traced`, wrappers of JAX
values; everything else, such as grids and masks, stays a tensor of PyTorch's own that PyTorch
computes with. Read in this order: `traced` (the tensors), `dispatch` (what each operation on
them does), `lowerings/` (the operations in JAX), `modules` (a checkpoint's modules), `function`
(modules as a function of arrays), `network` (that function as a `Network`).

Needs the extra ``[torch]``. Nothing outside of this folder imports torch, and this file does
not, so that `import eagle_jax` stays free of it.
"""
