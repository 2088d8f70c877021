"""From the name of a model to its folder: bundled, on this machine, or from the hub."""

from pathlib import Path

from eagle_jax.errors import InputError, reason
from eagle_jax.files import DEMO, local_path

SHORTCUT = "demo-shortcut"
_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
_HUB = ("https://huggingface.co/", "http://huggingface.co/", "https://hf.co/", "hf://")


def find_folder(source: str | Path) -> Path:
    """The folder of a model: bundled with the package, local, or downloaded by its hub id.

    Args:
      source: as for `load`.

    Raises:
      InputError: the hub id cannot be downloaded, or the source is neither a folder nor a hub
        id.
    """
    if not isinstance(source, str | Path):
        raise InputError(
            f"the model is {source!r:.60}, of type {type(source).__name__}; give a folder or a "
            "hub id"
        )
    source = str(source)
    if source in ("demo", SHORTCUT):
        return DEMO / "checkpoint"
    for start in _HUB:
        if source.startswith(start):
            hub_id = "/".join(source.removeprefix(start).split("/")[:2])
            raise InputError(f"the model {source[:120]!r} is an address; give its id, {hub_id}")
    folder = local_path(source)
    if not source.strip() or not (folder.exists() or source.isprintable()):
        raise InputError(f"the model is {source[:60]!a}; give a folder or a hub id")
    if folder.exists() or source.startswith(("/", ".", "~")) or source.count("/") != 1:
        return folder
    return _download(source)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_WANTED))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{hub_id} is neither a local folder nor in the download cache, and the hub cannot "
            "be reached: check the name and the connection, or give a folder"
        ) from error
    except GatedRepoError as error:
        raise InputError(
            f"{hub_id} is gated on the hub; accept its terms at "
            f"https://huggingface.co/{hub_id} and log in with: hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{hub_id} is neither a local folder nor a model on the hub that you may see; "
            "check the name, and log in with hf auth login if the model is private"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(
            f"{hub_id[:80]} cannot be downloaded from the hub ({reason(error, 80)}); check the "
            "name and the connection, or give a folder"
        ) from error
