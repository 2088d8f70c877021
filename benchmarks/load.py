"""Loads a checkpoint of Qwen2.5-VL-3B's exact shapes and reports seconds and peak memory.

The weights are random bfloat16 numbers in shards of 2 GB, written to a temporary folder that
is deleted at the end. `eagle_jax.load` reads them in a process of its own on the CPU, with the
demo model's tokenizer; having just been written, they mostly come from the page cache. The
bar: at its peak a process that loads holds the weights, in the precision it keeps, and 1.5 GB.

    python benchmarks/load.py                 # 7.5 GB of disk, 9 GB of memory
    python benchmarks/load.py --layers 2      # the same with fewer decoder layers
    python benchmarks/load.py --convert       # and the way over eagle-jax convert, and int8
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np
from flax import nnx

import eagle_jax
from eagle_jax import demo
from eagle_jax.models.families.qwen2_5_vl import FAMILY
from eagle_jax.models.families.qwen_vl import QwenVL

_CONFIG = (
    Path(eagle_jax.__file__).parent / "planning" / "configs" / "qwen2.5-vl-3b-instruct.json"
)
_SHARD_BYTES = 2_000_000_000
_ROOM = 1.5e9


def main() -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    options = _parser().parse_args()
    if options.work:
        return _work(options.work, options.quantize, *options.folders)
    # A temporary folder of this size must not outlive a terminated run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = json.loads(_CONFIG.read_text())["config"]
    if options.layers:
        config["num_hidden_layers"] = options.layers
    shapes = _shapes(config)
    size = sum(2 * int(np.prod(shape)) for shape in shapes.values())
    free = shutil.disk_usage(options.folder).free
    if free < (needed := size * (2.7 if options.convert else 1) + 1e9):
        print(
            f"benchmarks/load.py: {needed / 1e9:.1f} GB of disk are needed and "
            f"{free / 1e9:.1f} GB are free in {options.folder}; choose another --folder",
            file=sys.stderr,
        )
        return 2
    print(f"{'weights':<14}{size / 1e9:.2f} GB in bfloat16, {len(shapes)} tensors")
    print(f"{'machine':<14}{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f} at start")
    with tempfile.TemporaryDirectory(prefix="eagle-jax-load-", dir=options.folder) as folder:
        source, converted = Path(folder, "hugging-face"), Path(folder, "converted")
        begin = time.perf_counter()
        shards = _write(source, config, shapes)
        print(f"{'written':<14}{shards} shards in {time.perf_counter() - begin:.0f} s")
        fits = _measure("load", source)
        if options.convert:
            rounded = Path(folder, "rounded")
            _measure("convert", source, converted)
            fits &= _measure("restore", converted)
            fits &= _measure("load", source, quantize="int8")
            _measure("convert", source, rounded, quantize="int8")
            fits &= _measure("restore", rounded, quantize="int8")
    return 0 if fits else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--layers",
        type=int,
        metavar="N",
        help="number of decoder layers (default: the model's 36)",
    )
    add(
        "--convert",
        action="store_true",
        help="measure eagle-jax convert as well, which needs twice the disk",
    )
    add(
        "--folder",
        default=tempfile.gettempdir(),
        help="folder in which the temporary folder is made (default: %(default)s)",
    )
    add("--work", choices=["load", "convert", "restore"], help=argparse.SUPPRESS)
    add("--quantize", choices=["int8"], help=argparse.SUPPRESS)
    add("folders", nargs="*", help=argparse.SUPPRESS)
    return parser


def _shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of such a checkpoint, in its own layout."""
    family = FAMILY.read_config(config)
    skeleton = nnx.eval_shape(lambda: QwenVL(family, rngs=nnx.Rngs(0)))
    variables = {
        ".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(nnx.state(skeleton))
    }
    shapes = {}
    for key, target in FAMILY.weight_keys(family).items():
        if target is not None:
            shape = variables[target.path].shape[0 if target.index is None else 1 :]
            # Zero strides: the layout tells the shape without memory.
            shapes[key] = target.axes.to_checkpoint(np.broadcast_to(np.float32(0), shape)).shape
    return shapes


def _write(folder: Path, config: dict, shapes: dict[str, tuple[int, ...]]) -> int:
    folder.mkdir()
    for path in Path(demo.CHECKPOINT).iterdir():
        if path.suffix in (".json", ".jinja"):
            shutil.copyfile(path, folder / path.name)
    own = json.loads((Path(demo.CHECKPOINT) / "config.json").read_text())
    ids = {"image_token_id": own["image_token_id"]}
    (folder / "config.json").write_text(json.dumps(config | ids))

    shards: list[dict[str, tuple[int, ...]]] = [{}]
    filled = 0
    for key, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        if shards[-1] and filled + size > _SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][key] = shape
        filled += size
    noise = np.random.default_rng(0).standard_normal(2**24 + 1, np.float32)
    noise = (0.02 * noise).astype(ml_dtypes.bfloat16).view(np.uint16)
    places = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_shard(folder / name, shard, noise)
        places |= dict.fromkeys(shard, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return len(shards)


def _write_shard(path: Path, shapes: dict[str, tuple[int, ...]], noise: np.ndarray) -> None:
    """One safetensors file, written piece by piece: the library wants it in memory."""
    header, end = {}, 0
    for key, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        # The block's length is odd, so that no two tensors are alike.
        place = 0
        for shape in shapes.values():
            left = int(np.prod(shape))
            while left:
                piece = noise[place : place + left]
                piece.tofile(file)
                left -= len(piece)
                place = (place + len(piece)) % len(noise)


def _measure(work: str, *folders: Path, quantize: str | None = None) -> bool:
    command = [sys.executable, __file__, "--work", work, *map(str, folders)]
    if quantize:
        command += ["--quantize", quantize]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, size, before, peak = json.loads(result.stdout.splitlines()[-1])
    print(
        f"{work + ' ' + (quantize or ''):<14}{seconds:.1f} s; peak {peak / 1e9:.2f} GB "
        f"resident: {size / 1e9:.2f} GB of weights and {(peak - size) / 1e9:.2f} GB "
        f"({before / 1e9:.2f} GB before)",
        flush=True,
    )
    return peak <= size + _ROOM


def _work(work: str, quantize: str | None, *folders: str) -> int:
    import jax
    import transformers  # noqa: F401

    jax.device_put(0)
    before = _peak()
    begin = time.perf_counter()
    if work == "convert":
        from eagle_jax.scoring.conversion import convert

        size = convert(*folders, quantize=quantize)
    else:
        network = eagle_jax.load(*folders, quantize=quantize).network
        jax.block_until_ready(network)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
    print(json.dumps([time.perf_counter() - begin, size, before, _peak()]))
    return 0


def _peak() -> int:
    """Most bytes this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.exit(main())
