"""The plain PyTorch side of the comparison: sequential, one image at a time, no cleverness.

It follows the published method to the letter (arXiv 2509.22496, section 3): the mask
multiplies the uint8 image, the processor runs on every masked image, the model runs on the
whole sequence, the softmax is float32.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

# By the names in preprocessor_config.json; AutoProcessor wants torchvision.
_PROCESSORS = {
    "CLIPImageProcessor": CLIPImageProcessorPil,
    "GotOcr2ImageProcessor": GotOcr2ImageProcessorPil,
    "Qwen2VLImageProcessor": Qwen2VLImageProcessorPil,
}


@dataclass
class Search:
    """What the sequential search found; `n` regions, `t` target tokens."""

    order: np.ndarray  # (n,)
    insertion: np.ndarray  # (n + 1, t), row 0 is the blank image
    deletion: np.ndarray  # (n + 1, t), row 0 is the full image
    margin: np.ndarray  # (n,) best objective minus the second best
    shortfall: np.ndarray  # (n,) best objective minus that of the region taken


class TorchReference:
    """One checkpoint of any family in transformers' own class, float32 on the CPU if not told
    otherwise."""

    def __init__(self, folder: str | Path, device: str = "cpu", dtype=torch.float32):
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
        self._take(folder, model, device)

    @classmethod
    def random(cls, folder: str | Path, device: str, dtype: torch.dtype) -> "TorchReference":
        """A model of random weights, of which the folder has the configuration alone."""
        new, config = cls.__new__(cls), AutoConfig.from_pretrained(folder)
        with torch.device(device):
            model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        new._take(folder, model, device)
        # A file that names no tiles is read by a processor that always cuts them.
        if hasattr(new.processor, "crop_to_patches"):
            new.processor.crop_to_patches = True
        return new

    def _take(self, folder: str | Path, model: torch.nn.Module, device: str) -> None:
        settings = json.loads((Path(folder) / "preprocessor_config.json").read_text())
        kind = settings["image_processor_type"].removesuffix("Fast")
        self.processor = _PROCESSORS[kind].from_pretrained(folder)
        self.model, self.device = model.to(device).eval(), device

    def inputs(self, ids: np.ndarray, image: np.ndarray) -> dict[str, torch.Tensor]:
        """Processor output and sequence, with the image's token types where they matter.

        Without `mm_token_type_ids` transformers 5 silently uses text positions throughout.
        """
        pixels = self.processor(images=Image.fromarray(image), return_tensors="pt")
        sequence = torch.as_tensor(np.asarray(ids), dtype=torch.long)[None]
        inputs = {
            "input_ids": sequence,
            "attention_mask": torch.ones_like(sequence),
            "pixel_values": pixels["pixel_values"].to(self.model.dtype),
        }
        if "image_grid_thw" in pixels:
            inputs["image_grid_thw"] = pixels["image_grid_thw"]
            inputs["mm_token_type_ids"] = (sequence == self.model.config.image_token_id).int()
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    @torch.inference_mode()
    def log_probabilities(self, ids: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Float32 log-softmax over the vocabulary at every position, (s, vocabulary)."""
        logits = self.model(**self.inputs(ids, image), use_cache=False).logits[0]
        return torch.log_softmax(logits.float(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def generate(
        self, prompt_ids: np.ndarray, image: np.ndarray, tokens: int, stop: bool = True
    ) -> np.ndarray:
        """The greedy answer's token ids; with `stop` off the end token ends nothing."""
        inputs = self.inputs(prompt_ids, image)
        end = {} if stop else {"min_new_tokens": tokens, "eos_token_id": None}
        output = self.model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0, **end
        )
        return output[0, len(prompt_ids) :].cpu().numpy()

    @torch.inference_mode()
    def score(
        self,
        ids: np.ndarray,
        image: np.ndarray,
        labels: np.ndarray,
        visible: np.ndarray,
        rows: np.ndarray,
        target_ids: np.ndarray,
    ) -> np.ndarray:
        """Probabilities of `target_ids` at the logit rows `rows` of one set of regions."""
        masked = image * np.asarray(visible, np.uint8)[labels][..., None]
        logits = self.model(**self.inputs(ids, masked), use_cache=True).logits[0]
        probabilities = torch.softmax(logits[rows].float(), dim=-1)
        return probabilities[torch.arange(len(rows)), torch.as_tensor(target_ids)].cpu().numpy()


def exact_search(
    score, regions: int, insight_weight=1.0, necessity_weight=1.0, follow=None
) -> Search:
    """The published greedy search, one call of `score` per set of regions.

    Args:
        score: Maps `n` booleans to `t` probabilities.
        regions: Number of regions `n`.
        insight_weight: Weight of what the chosen regions show.
        necessity_weight: Weight of what removing them costs.
        follow: An order to replay instead of choosing: every candidate is still scored at
            every step, and `shortfall` says what the replayed choice gave away. Two searches
            that part at a tie can be compared no other way.

    Returns:
        The search.
    """
    chosen: list[int] = []
    blank, full = np.zeros(regions, bool), np.ones(regions, bool)
    insertion, deletion = [score(blank)], [score(full)]
    margin, shortfall = [], []
    for step in range(regions):
        left = [region for region in range(regions) if region not in chosen]
        shown, removed, objective = [], [], []
        for region in left:
            with_it = blank.copy()
            with_it[[*chosen, region]] = True
            shown.append(score(with_it))
            removed.append(score(~with_it))
            gain = insight_weight * shown[-1] + necessity_weight * (1.0 - removed[-1])
            objective.append(gain.mean())
        best = int(np.argmax(objective))
        taken = best if follow is None else left.index(follow[step])
        ranked = sorted(objective, reverse=True)
        margin.append(ranked[0] - ranked[1] if len(left) > 1 else np.inf)
        shortfall.append(objective[best] - objective[taken])
        chosen.append(left[taken])
        insertion.append(shown[taken])
        deletion.append(removed[taken])
    return Search(
        np.array(chosen),
        np.stack(insertion),
        np.stack(deletion),
        np.array(margin),
        np.array(shortfall),
    )
