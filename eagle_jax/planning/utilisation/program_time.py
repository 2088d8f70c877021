"""The time that the compiler for a TPU expects of a program."""

import json
import re

from eagle_jax.planning.chips import Chip
from eagle_jax.planning.utilisation.hlo import Instruction, Program, Run, walk

# Kernels written for a chip carry no estimate: they are taken to reach this fraction of its
# peak or of its bandwidth, whichever takes longer.
KERNEL_UTILISATION = 0.5


def program_seconds(program: Program, chip: Chip, peak: float) -> float:
    """Seconds of a batch on one chip.

    Each fusion carries an estimate in cycles, except gathers. There is none for transfers
    between chips, for copies that run beside other instructions, and for waiting. The
    program's loop over batches runs once here: what it does once for all batches counts in
    full.

    Args:
      program: from `hlo.parse`, compiled with the effort of a real run.
      chip: the chip that it was compiled for.
      peak: operations per second of the chip, in the precision of the products.
    """
    return sum(run.times * instruction_seconds(run, chip, peak) for run in walk(program))


def instruction_seconds(run: Run, chip: Chip, peak: float) -> float:
    """Seconds of one run of an instruction; 0 where nothing is known."""
    if is_kernel(run.instruction):
        operations, moved = _kernel_cost(run)
        return max(operations / peak, moved / chip.bandwidth) / KERNEL_UTILISATION
    assert chip.clock is not None
    return cycles(run.instruction) / chip.clock


def cycles(instruction: Instruction) -> int:
    """The compiler's estimate for one run; 0 where it gives none."""
    estimate = re.search(r'"estimated_cycles":"(\d+)"', instruction.text)
    return int(estimate[1]) if estimate else 0


def is_kernel(instruction: Instruction) -> bool:
    """Whether it is a kernel of this package, of which the compiler knows nothing."""
    return instruction.opcode == "custom-call" and '"tpu_custom_call"' in instruction.text


def stated_cost(instruction: Instruction) -> dict[str, str] | None:
    """The cost that a kernel states, "flops" and "bytes_accessed"; None if it states none."""
    cost = re.search(r'"cost_estimate":(\{[^}]*\})', instruction.text)
    return json.loads(cost[1]) if cost else None


def _kernel_cost(run: Run) -> tuple[float, float]:
    """Operations of one run of a kernel, and bytes between main memory and the core."""
    if cost := stated_cost(run.instruction):
        return float(cost["flops"]), float(cost["bytes_accessed"])
    operands = [name for name in run.instruction.operands if name in run.here]
    arrays = [*run.instruction.arrays, *(run.here[name].arrays[0] for name in operands)]
    return 0.0, float(sum(array.bytes for array in arrays if array.main))
