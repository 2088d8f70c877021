"""The compiler for TPUs, where there is one."""

from tpu_compiler import environment as environment
