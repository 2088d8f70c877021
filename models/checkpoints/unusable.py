"""What a folder holds instead of a checkpoint that loads, and what can be done about it."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError

_POINTER = b"version https://git-lfs.github.com/spec/"
_HALF = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".tmp")
_PICKLED = (".bin", ".pth", ".pt", ".ckpt")
# Files of a training run beside which no weights need be.
_TRAINING = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|non_lora|adapter_")
_FORMATS = {
    ".gguf": ("GGUF", "take the checkpoint in safetensors that it was made from"),
    ".h5": ("TensorFlow", "convert them to safetensors (in transformers: save_pretrained)"),
    ".msgpack": ("Flax", "convert them to safetensors (in transformers: save_pretrained)"),
    ".onnx": ("ONNX", "take the checkpoint in safetensors that it was made from"),
    ".npz": ("NumPy or MLX", "take the checkpoint in safetensors that it was made from"),
}
_QUANTIZED_NAMES = (
    (("qweight", "qzeros"), "gptq or awq"),
    (("absmax", "quant_map", "SCB"), "bitsandbytes"),
    (("weight_scale_inv",), "fp8"),
    (("weight_packed", "weight_scale", "weight_shape"), "compressed-tensors"),
    (("scales", "biases"), "mlx"),
)
_QUANTIZED_FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git leaves in place of a large file that it did not fetch."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def pointer_error(path: Path) -> InputError:
    """The refusal of such a file."""
    return InputError(
        f"{path} is a Git LFS pointer, not the file itself; run git lfs pull in its folder, or "
        "fetch the checkpoint again"
    )


def require_no_pointers(folder: Path, names: Collection[str]) -> None:
    """Refuses a folder in which a file that is read is such a pointer.

    Args:
      folder: the checkpoint folder.
      names: names of the files that are read, where they exist.

    Raises:
      InputError: one of the files is a pointer.
    """
    for name in names:
        if is_pointer(folder / name):
            raise pointer_error(folder / name)


def no_folder(path: Path) -> InputError:
    """The refusal of a model that is not a folder."""
    problem, todo = f"{path} is not a folder", "give a Hugging Face checkpoint folder"
    suffix = path.suffix.lower()
    if path.is_file() and suffix in _FORMATS:
        problem += f" but a file of {_FORMATS[suffix][0]} weights"
        todo = _FORMATS[suffix][1]
    elif path.is_file() and (path.parent / "config.json").is_file():
        todo = f"give {path.parent}"
    return InputError(f"{problem}; {todo}")


def no_config(folder: Path) -> InputError:
    """The refusal of a folder without config.json."""
    if is_adapter(folder):
        return adapter_error(folder)
    if half := _half_downloaded(folder):
        return _half_error(folder, half)
    problem, todo = f"{folder} has no config.json", "give a Hugging Face checkpoint folder"
    inner = [
        path.parent
        for pattern in ("*/config.json", "snapshots/*/config.json")
        for path in folder.glob(pattern)
        if path.is_file()
    ]
    if inner:
        todo = f"give the folder that has it, such as {max(inner, key=_number)}"
    elif any(path.suffix.lower() == ".gguf" for path in folder.iterdir()):
        problem += " and only GGUF weights"
        todo = _FORMATS[".gguf"][1]
    return InputError(f"{problem}; {todo}")


def _number(path: Path) -> tuple[int, str]:
    digits = re.search(r"(\d{1,18})$", path.name)
    return (int(digits[1]) if digits else -1, path.name)


def no_weights(folder: Path) -> InputError:
    """The refusal of a folder with config.json and without weights in safetensors."""
    if is_adapter(folder):
        return adapter_error(folder)
    if half := _half_downloaded(folder):
        return _half_error(folder, half)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    for suffix, (name, todo) in _FORMATS.items():
        if any(file.lower().endswith(suffix) for file in names):
            return InputError(
                f"{folder} has only {name} weights, which eagle-jax cannot read; {todo}"
            )
    pickles = [
        file for file in names if file.lower().endswith(_PICKLED) and not _TRAINING.match(file)
    ]
    if pickles:
        return InputError(
            f"{folder} has only pickled weights ({pickles[0][:60]}), which eagle-jax never "
            "opens; convert them to safetensors (in transformers: save_pretrained)"
        )
    if "zero_to_fp32.py" in names:
        return InputError(
            f"{folder} has only the parts of a DeepSpeed run; in it, run "
            "python zero_to_fp32.py . . --safe_serialization"
        )
    return InputError(
        f"{folder} has no weights, neither model.safetensors nor its index; fetch the "
        "checkpoint again"
    )


def absent_shards(folder: Path, problem: str, absent: Collection[str]) -> InputError:
    """The refusal of a folder that lacks some of its files of weights.

    Args:
      folder: the checkpoint folder.
      problem: start of the message, which "not in the folder" follows.
      absent: names of the files.
    """
    first = min(absent)[:80]
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    half = ", whose download was not finished" if _half_downloaded(folder) else ""
    return InputError(
        f"{problem} not in the folder{half}: {first}{more}; fetch the checkpoint again"
    )


def _half_downloaded(folder: Path) -> list[str]:
    places = (folder, folder / ".cache" / "huggingface" / "download")
    return sorted(
        path.name
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.suffix.lower() in _HALF and path.is_file()
    )


def _half_error(folder: Path, names: list[str]) -> InputError:
    return InputError(
        f"{folder} is a download that was not finished ({names[0][:60]}); start the download "
        "again, which goes on where it stopped"
    )


def is_adapter(folder: Path) -> bool:
    """Whether a folder has files of a LoRA adapter or of another one of PEFT."""
    return (folder / "adapter_config.json").is_file() or any(folder.glob("adapter_model*"))


def adapter_error(folder: Path) -> InputError:
    """The refusal of a folder that holds an adapter and no weights of a model."""
    try:
        found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = {}
    found = found if isinstance(found, dict) else {}
    base = found.get("base_model_name_or_path")
    base = _short(base) if isinstance(base, str) and base else "a base model it does not name"
    method = found.get("peft_type")
    if method in (None, "LORA") or not isinstance(method, str):
        method = "LoRA"
    return InputError(
        f"{folder} is a {_short(method)} adapter for {base}, without that model's weights; "
        "merge it first (in peft: merge_and_unload, then save_pretrained)"
    )


def quantized_with(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The method with which a checkpoint says that its weights are quantised; None for none.

    Args:
      folder: the checkpoint folder.
      config: its parsed config.json.
    """
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for name in ("quantization_config", "compression_config", "quantization"):
            if part.get(name):
                return _method(part[name], "mlx" if name == "quantization" else None)
    for name, method in _QUANTIZED_FILES.items():
        if (folder / name).is_file():
            return method
    return None


def _method(told: Any, default: str | None) -> str:
    if isinstance(told, str):
        return _short(told)
    told = told if isinstance(told, dict) else {}
    method = told.get("quant_method") or told.get("quant_algo")
    if isinstance(method, str):
        return _short(method)
    if any(name.startswith(("load_in_", "bnb_", "_load_in_")) for name in told):
        return "bitsandbytes"
    return default or "a method that config.json does not name"


def quantized_tensors(dtypes: Mapping[str, str]) -> str | None:
    """The method that names and types of tensors give away; None for plain weights.

    Args:
      dtypes: name -> the safetensors name of the dtype.
    """
    ends = {part for name in dtypes for part in name.split(".")[-2:]}
    for names, method in _QUANTIZED_NAMES:
        if any(name in ends for name in names):
            return method
    if any(dtype.startswith("F8_") for dtype in dtypes.values()):
        return "fp8"
    return None


def quantized_error(folder: Path, method: str) -> InputError:
    """The refusal of a quantised checkpoint."""
    return InputError(
        f"{folder} is quantised with {method}, which eagle-jax cannot read; take the "
        "checkpoint in bfloat16, and --quantize int8 if memory is short"
    )


def _short(text: str) -> str:
    return " ".join(text.split())[:60].encode(errors="backslashreplace").decode()
