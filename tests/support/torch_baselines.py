"""The white-box methods in plain PyTorch: one image, one target, one step after the other."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch_reference import TorchReference

MOMENTUM, RATE, SIDE = 5.0, 10.0, 32
KINDS = {"PixelBudget": "pixels", "CentreCrop": "crop", "Tiles": "tiles"}


class TorchBaselines:
    """One question to one checkpoint, and the maps of the methods over its cells.

    A map is a list of grids, one for each view of the image: the resized image, the crop, or
    the tiles and the thumbnail.
    """

    def __init__(self, reference: TorchReference, case):
        self.reference, self.case = reference, case
        # Attention in the open, which the faster kinds do not show.
        self.model = copy.deepcopy(reference.model)
        self.model.set_attn_implementation("eager")
        self.model.requires_grad_(False)
        self.ids = np.concatenate([case.prompt_ids, case.answer_ids])
        self.rows = torch.as_tensor(len(case.prompt_ids) + case.positions - 1)
        self.targets = torch.as_tensor(case.token_ids).long()
        self.image_at = np.flatnonzero(self.ids == self.model.config.image_token_id)
        self.inputs = reference.inputs(self.ids, case.image)
        self.pixels = self.inputs["pixel_values"]
        self.settings = case.model.image_settings
        self.kind = KINDS[self.settings.__class__.__name__]

    def run(self, pixels=None, **options):
        inputs = self.inputs | {"pixel_values": self.pixels if pixels is None else pixels}
        return self.model(**inputs, use_cache=False, **options)

    def chosen(self, logits):
        return logits[0, self.rows].gather(-1, self.targets[:, None])[:, 0]

    def log_probabilities(self, pixels):
        return self.chosen(torch.log_softmax(self.run(pixels).logits.float(), dim=-1))

    # The methods.

    def llava_cam(self, layer: int) -> list[np.ndarray]:
        kept = []
        module = self.model.model.language_model.layers[layer].post_attention_layernorm

        def keep(module, inputs, output):
            output = output.detach().requires_grad_()
            kept.append(output)
            return output

        handle = module.register_forward_hook(keep)
        score = self.chosen(self.run().logits).sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
        a, g = (x[0, self.image_at].detach() for x in (kept[0], gradient))
        weights = torch.clamp(g, min=0).mean(dim=0)
        heat = torch.clamp((a * weights).mean(dim=1), min=0)
        return self.token_grids((heat / heat.max()).numpy())

    def tam(self, interference: bool = True) -> list[list[np.ndarray]]:
        """For each target."""
        activation = np.maximum(self.run().logits[0].detach().double().numpy(), 0)
        maps = []
        for row, word in zip(self.rows.tolist(), self.targets.tolist(), strict=True):
            own = activation[self.image_at, word]
            before = range(self.image_at[-1] + 1, row)
            texts = [activation[j, word] for j in before]
            others = [j for j in before if self.ids[j] != word]
            total = sum(activation[j, word] for j in others)
            if interference and total > 0:
                mean = sum(
                    activation[j, word] / total * activation[self.image_at, self.ids[j]]
                    for j in others
                )
                scale = np.linalg.lstsq(mean[:, None], own, rcond=None)[0][0]
                own = np.maximum(own - scale * mean, 0)
            low, high = min([*own, *texts]), max([*own, *texts])
            grids = self.token_grids((own - low) / (high - low))
            maps.append([rank_gaussian(grid) for grid in grids])
        return maps

    def rollout(self) -> list[np.ndarray]:
        joint = torch.eye(len(self.ids))
        for attention in self.run(output_attentions=True).attentions:
            mixed = attention[0].mean(dim=0) / 2 + torch.eye(len(self.ids)) / 2
            joint = mixed @ joint
        return self.token_grids(joint[self.rows].mean(dim=0)[self.image_at].numpy())

    def relevance(self) -> list[np.ndarray]:
        self.pixels.requires_grad_()
        found = self.run(output_attentions=True)
        total = 0
        for i, logit in enumerate(self.chosen(found.logits)):
            slopes = torch.autograd.grad(logit, found.attentions, retain_graph=True)
            joint = torch.eye(len(self.ids))
            for slope, attention in zip(slopes, found.attentions, strict=True):
                flow = torch.clamp(slope[0] * attention[0], min=0).mean(dim=0)
                joint = joint + flow @ joint
            total = total + joint[self.rows[i], self.image_at].detach()
        self.pixels.requires_grad_(False)
        return self.token_grids((total / len(self.rows)).numpy())

    def integrated_gradients(self, steps: int) -> list[np.ndarray]:
        black = self.reference.inputs(self.ids, np.zeros_like(self.case.image))["pixel_values"]
        total = torch.zeros_like(self.pixels)
        for k in range(steps):
            place = (black + (k + 0.5) / steps * (self.pixels - black)).requires_grad_()
            total += torch.autograd.grad(self.log_probabilities(place).mean(), place)[0]
        return self.patch_grids(total / steps * (self.pixels - black))

    def igos(self, blurred: np.ndarray, iterations: int, steps: int, swap: bool) -> np.ndarray:
        """One minus the product of the masks, side x side, without noise."""
        base = self.reference.inputs(self.ids, blurred)["pixel_values"]
        image = self.pixels
        with torch.no_grad():
            seen, blind = self.log_probabilities(image), self.log_probabilities(base)
        counted = (seen - blind > 1).float()
        if not counted.any():
            counted[torch.argmax(seen.exp() - blind.exp())] = 1

        def score(first, second, mask):
            total = 0
            for k in range(1, steps + 1):
                m = self.upsampled(mask * k / steps)
                values = self.log_probabilities(first * m + second * (1 - m))
                total = total + (values * counted).sum() / steps
            return total

        deletion, insertion = torch.ones(2, SIDE, SIDE)
        before = [torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)]
        there = (base, image) if swap else (image, base)
        for i in range(iterations):
            d, j = deletion.clone().requires_grad_(), insertion.clone().requires_grad_()
            energy = score(image, base, d * j) - score(*there, d * j)
            energy = (energy + score(image, base, d) - score(*there, j)) / 2
            energy = energy + self.penalty(d * j, i, swap)
            slopes = torch.autograd.grad(energy, (d, j))
            after = [m - RATE * s for m, s in zip((deletion, insertion), slopes, strict=True)]
            extrapolated = [
                torch.clamp(a + i / (i + MOMENTUM) * (a - b), 0, 1)
                for a, b in zip(after, before, strict=True)
            ]
            (deletion, insertion), before = extrapolated, after
        return (1 - deletion * insertion).numpy()

    def penalty(self, mask, i: int, paper: bool):
        decay = np.exp(-i) if paper else np.prod([np.exp(-k) for k in range(i + 1)])
        pixels = self.first_view(self.pixels).mean(dim=0)
        large = self.views(mask)[0]
        smooth = (mask[1:] - mask[:-1]).square().mean()
        smooth = smooth + (mask[:, 1:] - mask[:, :-1]).square().mean()
        for a, b, x, y in (
            (large[1:], large[:-1], pixels[1:], pixels[:-1]),
            (large[:, 1:], large[:, :-1], pixels[:, 1:], pixels[:, :-1]),
        ):
            smooth = smooth + (torch.exp(-(x - y).square() / 0.01) * (a - b).square()).mean()
        sparse = (1 - mask).abs().mean()
        return sparse + 10 * smooth / 2 + 0.1 * decay * (1 - mask).square().sum()

    # Where things are. Each kind of processor by what its files say, not by our frames.

    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles, by the one shape that has as many and fits the image."""
        count = max(1, len(self.pixels) - 1)
        height, width = self.case.image.shape[:2]
        shapes = [(r, count // r) for r in range(1, count + 1) if count % r == 0]
        return min(shapes, key=lambda s: abs(width / height - s[1] / s[0]))

    def token_grids(self, values: np.ndarray) -> list[np.ndarray]:
        if self.kind == "pixels":
            rows, columns = self.inputs["image_grid_thw"][0, 1:].tolist()
            return [values.reshape(rows // 2, columns // 2)]
        if self.kind == "crop":
            return [values.reshape(round(len(values) ** 0.5), -1)]
        rows, columns = self.tiles()
        tiles = values.reshape(len(self.pixels), -1)
        side = round(tiles.shape[1] ** 0.5)
        tiles = [tile.reshape(side, side) for tile in tiles]
        lines = [np.hstack(tiles[r * columns : (r + 1) * columns]) for r in range(rows)]
        return [np.vstack(lines)] + ([tiles[-1]] if len(tiles) > 1 else [])

    def patch_grids(self, values: torch.Tensor) -> list[np.ndarray]:
        """Sums over the patches of something of the pixels' shape."""
        patch = self.settings.patch_size
        if self.kind != "pixels":
            views = self.tiled_views(values)
            sums = (F.avg_pool2d(v.sum(0)[None, None], patch) * patch**2 for v in views)
            return [one[0, 0].numpy() for one in sums]
        rows, columns = self.inputs["image_grid_thw"][0, 1:].tolist()
        sums = values.sum(dim=1).reshape(rows // 2, columns // 2, 2, 2)
        return [sums.permute(0, 2, 1, 3).reshape(rows, columns).numpy()]

    def tiled_views(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        rows, columns = self.tiles()
        lines = [
            torch.cat(list(pixels[r * columns : (r + 1) * columns]), dim=2) for r in range(rows)
        ]
        return [torch.cat(lines, dim=1)] + ([pixels[-1]] if len(pixels) > 1 else [])

    def first_view(self, pixels: torch.Tensor) -> torch.Tensor:
        """The image as the model sees it, (3, rows, columns)."""
        if self.kind != "pixels":
            return self.tiled_views(pixels)[0]
        rows, columns = (n // 2 for n in self.inputs["image_grid_thw"][0, 1:].tolist())
        patch = self.settings.patch_size
        one = pixels.reshape(rows, columns, 2, 2, 3, 2, patch, patch)[:, :, :, :, :, 0]
        one = one.permute(4, 0, 2, 5, 1, 3, 6)
        return one.reshape(3, rows * 2 * patch, columns * 2 * patch)

    def resized(self) -> tuple[int, int]:
        height, width = self.case.image.shape[:2]
        edge = self.settings.shortest_edge
        if height < width:
            return edge, int(edge * width / height)
        return int(edge * height / width), edge

    def views(self, mask: torch.Tensor) -> list[torch.Tensor]:
        """A mask over the whole image, as each view of the image shows it."""

        def to(shape):
            return F.interpolate(mask[None, None], shape, mode="bilinear")[0, 0]

        shape = self.first_view(self.pixels).shape[1:]
        if self.kind == "crop":
            resized = self.resized()
            top, left = ((a - b) // 2 for a, b in zip(resized, shape, strict=True))
            return [to(resized)[top : top + shape[0], left : left + shape[1]]]
        if self.kind == "tiles" and len(self.pixels) > 1:
            return [to(shape), to((self.settings.side, self.settings.side))]
        return [to(shape)]

    def upsampled(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask in the shape of the pixels."""
        views = self.views(mask)
        if self.kind == "pixels":
            rows, columns = (n // 2 for n in self.inputs["image_grid_thw"][0, 1:].tolist())
            patch = self.settings.patch_size
            one = views[0].reshape(rows, 2, patch, columns, 2, patch).permute(0, 3, 1, 4, 2, 5)
            return one.reshape(len(self.pixels), 1, -1).expand(-1, 6, -1).flatten(1)
        if self.kind == "crop":
            return views[0].expand_as(self.pixels)
        side = self.settings.side
        tiles = [tile for line in views[0].split(side, 0) for tile in line.split(side, 1)]
        return torch.stack(tiles + views[1:])[:, None].expand_as(self.pixels)

    def stretched(self, grid: np.ndarray) -> np.ndarray:
        """A grid over the whole image at the image's size."""
        size = self.case.image.shape[:2]
        return F.interpolate(torch.as_tensor(grid)[None, None], size, mode="bilinear")[
            0, 0
        ].numpy()

    def painted(self, grids: list[np.ndarray]) -> np.ndarray:
        """Grids over the views as one map over the image."""
        height, width = self.case.image.shape[:2]
        total = np.zeros((height, width))
        for grid in grids:
            y = (torch.arange(height) + 0.5) / height * 2 - 1
            x = (torch.arange(width) + 0.5) / width * 2 - 1
            if self.kind == "crop":
                resized, side = self.resized(), self.settings.side
                y, x = (
                    ((place + 1) / 2 * length - (length - side) // 2) / side * 2 - 1
                    for place, length in zip((y, x), resized, strict=True)
                )
            places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
            values = F.grid_sample(
                torch.as_tensor(grid, dtype=torch.float32)[None, None],
                places,
                padding_mode="border",
                align_corners=False,
            )[0, 0]
            total += np.where((places[0].abs() <= 1).all(dim=-1), values, 0)
        return total / len(grids)


def rank_gaussian(grid: np.ndarray) -> np.ndarray:
    edged = np.pad(grid, 1, mode="reflect")
    smooth = np.zeros_like(grid)
    for row, column in np.ndindex(grid.shape):
        values = sorted(edged[row : row + 3, column : column + 3].ravel())
        mean = sum(values) / 9
        deviation = (sum((v - mean) ** 2 for v in values) / 9) ** 0.5
        if deviation == 0 or mean == 0:
            smooth[row, column] = values[4]
            continue
        width = deviation / mean
        weights = [np.exp(-((rank - 4) ** 2) / (2 * width**2)) for rank in range(9)]
        smooth[row, column] = np.dot(weights, values) / sum(weights)
    return smooth
