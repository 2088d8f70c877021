"""The result of an explanation: its order, its curves and what follows from them."""

import dataclasses
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.files import write_folder
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc
from eagle_jax.metrics.reliance import token_reliance
from eagle_jax.results import storage

if TYPE_CHECKING:
    import matplotlib.figure


class WholeCurves(NamedTuple):
    """Curves from the blank to the full image.

    Attributes:
      area: share of the image in the regions taken so far, from 0 to 1.
      insertion: probability of each target token with these regions visible.
      deletion: the same with these regions removed.
    """

    area: Float32[np.ndarray, "m"]
    insertion: Float32[np.ndarray, "m t"]
    deletion: Float32[np.ndarray, "m t"]


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """Which regions of an image carry an answer, and how far.

    Attributes:
      image: the explained image, RGB; None when it was saved without.
      labels: region number of every pixel, 0 to n-1, each used at least once.
      order: region numbers, most important first; k of the n regions, fewer than all where
        the search was cut short.
      insertion: probability of each target token with the first i regions visible, for
        i = 0 (blank image) to k.
      deletion: the same with the first i regions removed, from the full image on.
      prompt: the user's text.
      answer: the explained answer as text.
      answer_ids: token ids of the whole answer.
      answer_tokens: those tokens as text, decoded one at a time.
      positions: positions in the answer that were scored.
      token_ids: the ids that were scored there, which may differ from the answer's.
      tokens: the scored tokens as text.
      insight_weight: weight of the insertion term of the objective.
      necessity_weight: weight of the deletion term.
      model: name of the model.
      forwards: number of masked images the model saw.
      seconds: wall-clock time it took.
      method: what the order comes from: "eagle", or a method EAGLE is compared with.
      options: what the method was told, by name: of EAGLE the ``search``, and what that was
        told; texts, numbers, truth values and None.
      backwards: of the forwards, how many the gradient was taken of.
      heat: the map that a method made, of which the order is the ranking of its regions; None
        for methods that find an order.
      importance: what each region adds to the objective, on average over places along the
        order, as a search that models the scores estimates it; None for others.
      uncertainty: standard error of the importance.
      pairs: the regions that interact most, the strongest pair first.
      interaction: what both add together beyond what each adds without the other.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """

    image: UInt8[np.ndarray, "H W 3"] | None
    labels: Int32[np.ndarray, "H W"]
    order: Int32[np.ndarray, "k"]
    insertion: Float32[np.ndarray, "k+1 t"]
    deletion: Float32[np.ndarray, "k+1 t"]
    prompt: str
    answer: str
    answer_ids: Int32[np.ndarray, "a"]
    answer_tokens: tuple[str, ...]
    positions: Int32[np.ndarray, "t"]
    token_ids: Int32[np.ndarray, "t"]
    tokens: tuple[str, ...]
    insight_weight: float
    necessity_weight: float
    model: str
    forwards: int
    seconds: float
    method: str = "eagle"
    options: Mapping[str, str | int | float | bool | None] = dataclasses.field(
        default_factory=dict
    )
    backwards: int = 0
    heat: Float32[np.ndarray, "H W"] | None = None
    importance: Float32[np.ndarray, "n"] | None = None
    uncertainty: Float32[np.ndarray, "n"] | None = None
    pairs: Int32[np.ndarray, "m 2"] | None = None
    interaction: Float32[np.ndarray, "m"] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attribution):
            return NotImplemented
        names = [field.name for field in dataclasses.fields(self)]
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def regions(self) -> int:
        """Number of regions n of the image."""
        return int(self.labels.max()) + 1

    @property
    def area(self) -> Float32[np.ndarray, "_"]:
        """Share of the image in the first i regions, i = 0 to k, shape (k+1,)."""
        pixels = np.bincount(self.labels.ravel(), minlength=self.regions)[self.order]
        return (np.append(0, np.cumsum(pixels)) / self.labels.size).astype(np.float32)

    @property
    def whole(self) -> WholeCurves:
        """The curves up to the full and the blank image.

        Those of a search that was cut short lack the way from its last region to these; it is
        taken as one step, so that areas under curves remain comparable.
        """
        curves = self.area, self.insertion, self.deletion
        if self.order.size == self.regions:
            return WholeCurves(*curves)
        ends = np.ones(1, np.float32), self.deletion[:1], self.insertion[:1]
        return WholeCurves(*map(np.concatenate, zip(curves, ends, strict=True)))

    @property
    def objective(self) -> Float32[np.ndarray, "_"]:
        """The search's objective F of each chosen prefix, from one region to k.

        References:
          EAGLE, arXiv 2509.22496, section 3: insight score plus necessity score.
        """
        return self._objective()[1 : self.order.size + 1].astype(np.float32)

    @property
    def saliency(self) -> Float32[np.ndarray, "H W"]:
        """Map over the pixels, from 0 to 1: the heat stretched, or else by the order.

        By the order, 1 on the first region, falling to 0 on the last: the value of a region
        is minus the sum of all absolute changes of F up to it, so a drop of F lowers the map
        just as a gain does; then it is stretched to [0, 1]. Where F never changes after the
        first region, the first is 1 and the others are 0. Regions that a search cut short did
        not come to are 0 together.

        References:
          EAGLE, arXiv 2509.22496, section 3. The published map is float16, where late
          regions collapse to equal values, and its start value takes both weights as 1.
        """
        if self.heat is not None:
            low, high = self.heat.min(), self.heat.max()
            return (self.heat - low) / (high - low if high > low else np.float32(1))
        if not self.order.size:
            return np.zeros(self.labels.shape, np.float32)
        value = -np.cumsum(np.abs(np.diff(self._objective())))
        spread = value[0] - value[-1]
        if spread > 0:
            value = (value - value[-1]) / spread
        else:
            value = (np.arange(value.size) == 0).astype(np.float64)
        by_region = np.zeros(self.regions, np.float32)
        by_region[self.order] = value[: self.order.size]
        return by_region[self.labels]

    @property
    def reliance(self) -> Float32[np.ndarray, "t"]:
        """Perceptual evidence of each target token; near 0 the language prior carries it."""
        return token_reliance(self.whole.area, self.whole.insertion)

    @property
    def insertion_auc(self) -> float:
        """Insertion AUC of the mean over target tokens; higher is better."""
        return _auc(insertion_auc, self.whole.area, self.whole.insertion)

    @property
    def deletion_auc(self) -> float:
        """Deletion AUC of the mean over target tokens; lower is better."""
        return _auc(deletion_auc, self.whole.area, self.whole.deletion)

    def summary(self) -> str:
        """A few lines for people: answer, leading regions, AUCs and cost."""
        share = np.diff(self.area)
        regions = [
            f"{rank + 1}. region {self.order[rank]}, {share[rank]:.1%} of the image"
            for rank in range(min(3, self.order.size))
        ]
        lines = {"answer": " ".join(self.answer.split())}
        if self.positions.size < self.answer_ids.size or self.counterfactual.any():
            lines["target"] = ", ".join(
                repr(token)
                + (f" in place of {self.answer_tokens[position]!r}" if changed else "")
                for token, position, changed in zip(
                    self.tokens, self.positions, self.counterfactual, strict=True
                )
            )
        if self.order.size < self.regions:
            why = {"interrupt": " by an interrupt", "budget": " by its budget"}
            why = why.get(str(self.options.get("ended")), "")
            regions.append(f"cut short{why} after {self.order.size} of {self.regions} regions")
        lines["regions"] = ("\n" + " " * 12).join(regions)
        lines["insertion"] = f"AUC {self.insertion_auc:.3f} (higher is better)"
        lines["deletion"] = f"AUC {self.deletion_auc:.3f} (lower is better)"
        if "search" in self.options:
            chosen = self.options.get("chosen_by")
            by = f", chosen by {chosen}" if chosen else ""
            lines["search"] = self.search + by
            limited = self.options.keys() & {"budget", "seconds", "top_k", "stop", "ended"}
            if self.search != "exact":
                share = self.forwards / (self.regions * (self.regions + 1))
                lines["search"] += f": {share:.0%} of the forwards of the exact one"
                if not limited:
                    lines["search"] += _usual_loss(str(chosen or self.search))
        lines["cost"] = f"{self.forwards:,} forwards in {self.seconds:.1f} s"
        return "\n".join(f"{name:<12}{text}" for name, text in lines.items())

    @property
    def counterfactual(self) -> Bool[np.ndarray, "t"]:
        """True for targets whose scored id is not the one in the answer."""
        return self.token_ids != self.answer_ids[self.positions]

    @property
    def search(self) -> str:
        """What found the order: the search of EAGLE, or the method."""
        return str(self.options.get("search", self.method))

    def plot(self) -> "matplotlib.figure.Figure":
        """Draws everything in one figure, as `eagle_jax.plot` does.

        Raises:
          InputError: the attribution was saved without its image.
        """
        # Drawing stands on a higher floor; this is a short cut through the package's face.
        import eagle_jax

        return eagle_jax.plot(self)

    def report(self, path: str | os.PathLike) -> None:
        """Writes the page that people share, as `eagle_jax.report` does.

        Args:
          path: of an HTML file, which is replaced.

        Raises:
          InputError: the attribution was saved without its image, or the file cannot be
            written.
        """
        import eagle_jax

        eagle_jax.report(self, path)

    def _repr_html_(self) -> str | None:
        """The page in a notebook; the text form where the image is missing."""
        if self.image is None:
            return None
        import eagle_jax

        return eagle_jax.report_frame(self)

    def with_image(self, source: ImageSource) -> "Attribution":
        """The attribution together with its image, if it was saved without.

        Args:
          source: the explained picture.

        Raises:
          InputError: the picture cannot be read or has another size.
        """
        image = read_image(source)
        if image.shape[:2] != self.labels.shape:
            (height, width), (own_height, own_width) = image.shape[:2], self.labels.shape
            raise InputError(
                f"the picture is {width} x {height} pixels, the attribution is of one of "
                f"{own_width} x {own_height}"
            )
        return dataclasses.replace(self, image=image)

    def save(self, folder: str | os.PathLike, figure: bool = False, image: bool = True) -> None:
        """Write attribution.json, arrays.npz and image.png to `folder`, all or nothing.

        Missing parents are created; an attribution that is there already is replaced.

        Args:
          folder: where to write.
          figure: also draw figure.png.
          image: write image.png, by far the largest of the files; without it `plot` needs
            `with_image` first.

        Raises:
          InputError: the folder holds something else or cannot be written, or the fields
            contradict each other (shapes, label range, order, probabilities).
        """
        files = storage.encode(vars(self), image)
        if figure:
            picture = io.BytesIO()
            self.plot().savefig(picture, format="png", dpi=200)
            files[storage.FIGURE] = picture.getvalue()
        storage.require_free(folder)
        write_folder(folder, files)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Attribution":
        """Read what `save` wrote, checked against the digests recorded there.

        Args:
          folder: a saved attribution.

        Raises:
          InputError: a file is missing, damaged or edited, or from a newer eagle-jax.
        """
        return cls(**storage.read(folder))

    def _objective(self) -> np.ndarray:
        insertion = self.whole.insertion.mean(axis=1, dtype=np.float64)
        deletion = self.whole.deletion.mean(axis=1, dtype=np.float64)
        return self.insight_weight * insertion + self.necessity_weight * (1 - deletion)


def _auc(metric, area: np.ndarray, curves: np.ndarray) -> float:
    return float(metric(area.astype(np.float64), curves.mean(axis=1, dtype=np.float64)))


def _usual_loss(search: str) -> str:
    # The table of searches is slow to import, and nothing else here wants it.
    from eagle_jax.search.methods import SEARCHES

    loss = SEARCHES[search].loss if search in SEARCHES else None
    if loss is None:
        return ""
    than = "worse" if loss > 0 else "better"
    return f", {abs(loss):.1f}% {than} than it on the storybook benchmark"
