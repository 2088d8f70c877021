"""Models of transformers without a port: PyTorch's modules inside a JAX program.

Tensors that follow from weights, pixels or the question are `traced.Traced`, wrappers of JAX
values. All other tensors, such as grids and masks, are plain: PyTorch computes with them while
the program is traced, and their values become constants. Where a module's Python code asks for
the value of a traced tensor, the question at hand answers (its *hint*), and the program checks
that the traced value is the same (a *guard*).

Read in this order: `traced` (the tensors), `dispatch` (what each operation on them does),
`lowerings/` (the operations in JAX), `attention`, `modules` (a checkpoint's modules),
`loading` (its weights), `function` (modules as a function of arrays), `network` (that function
as a `Network`) and `processor` (the family's processor).

Needs the extra ``[torch]``. Nothing outside this folder imports torch, and this file does not,
so that `import eagle_jax` stays free of it.
"""
