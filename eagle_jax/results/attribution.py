"""One explanation: an order of regions, the curves along it, and what follows from them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from eagle_jax.argument_types import checked
from eagle_jax.display import drawer
from eagle_jax.errors import InputError
from eagle_jax.files import encoded, write_folder
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc
from eagle_jax.metrics.reliance import image_share, token_reliance
from eagle_jax.metrics.statistics import Interval
from eagle_jax.results import storage
from eagle_jax.results.consistency import require_size, valid_texts
from eagle_jax.results.curves import WholeCurves, mean_auc, objective_along, whole_curves
from eagle_jax.results.saliency import MapKind, MapTarget, errors_of, map_of, part_of, shown_map
from eagle_jax.results.summary import line_of, summary_of

if TYPE_CHECKING:
    import matplotlib.figure


@checked
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """Which regions of an image carry an answer, and how far.

    ``print`` shows the summary.

    Attributes:
      image: the explained image, RGB; None when it was saved without.
      labels: region number of every pixel, 0 to n-1, each used at least once.
      order: region numbers, most important first; k of the n regions, fewer than all where
        the search was cut short.
      insertion: probability of each target token with the first i regions visible, i = 0 to k.
      deletion: the same with the first i regions removed, from the full image on.
      prompt: the user's text.
      answer: the explained answer as text.
      answer_ids: token ids of the whole answer.
      answer_tokens: text of each token; part of a character decodes to U+FFFD.
      positions: positions in the answer that were scored.
      token_ids: ids that were scored there, which may differ from the answer's.
      tokens: scored tokens as text.
      insight_weight: weight of the insertion term of the objective.
      necessity_weight: weight of the deletion term.
      model: name of the model.
      forwards: number of masked images that were scored.
      seconds: wall-clock time of the search.
      method: "eagle", or the method that EAGLE is compared with.
      options: settings of the method by name, for EAGLE the ``search`` and its settings.
      backwards: number of forwards whose gradient was taken.
      heat: map by which a method ranks its regions; None for methods that find an order.
      values: what each region is worth to each target token: its Shapley value, in
        probability. The values of a token add up to its probability for the full image minus
        its probability for the blank image. None for methods other than EAGLE.
      errors: standard error of each value.
      pairs: regions that interact most, the strongest pair first.
      interaction: what a pair of regions adds together, less what each of them adds alone.
      gap: correction that made the values add up, the largest of all tokens.
      unseen: mean error of the probabilities that the values rest on, for sets of regions that
        were not scored: how far the values may be off.
      further_labels: regions of the further partitions, numbered through; None without them.
      further_values, further_errors: values of these regions, and their standard errors.
      fill: what is shown in place of hidden regions: "black", "mean", "blur" or an image.
      cut: where the answer that the model generated was cut; empty for a whole answer.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" where the chat template's switch for thoughts was set.

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
    values: Float32[np.ndarray, "t n"] | None = None
    errors: Float32[np.ndarray, "t n"] | None = None
    pairs: Int32[np.ndarray, "m 2"] | None = None
    interaction: Float32[np.ndarray, "m"] | None = None
    gap: float | None = None
    unseen: float | None = None
    further_labels: Int32[np.ndarray, "further H W"] | None = None
    further_values: Float32[np.ndarray, "t cells"] | None = None
    further_errors: Float32[np.ndarray, "t cells"] | None = None
    fill: str | UInt8[np.ndarray, "H W 3"] = "black"
    # No part of the explanation: a given answer equals a generated one.
    cut: str = dataclasses.field(default="", compare=False)
    system: str | None = None
    thinking: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attribution):
            return NotImplemented
        names = [field.name for field in dataclasses.fields(self) if field.compare]
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return line_of(self)

    def __str__(self) -> str:
        return self.summary()

    @property
    def regions(self) -> int:
        """Number of regions n of the image."""
        return int(self.labels.max()) + 1

    @property
    def area(self) -> Float32[np.ndarray, "_"]:
        """Fraction of the image in the first i regions, i = 0 to k, shape (k+1,)."""
        pixels = np.bincount(self.labels.ravel(), minlength=self.regions)[self.order]
        return (np.append(0, np.cumsum(pixels)) / self.labels.size).astype(np.float32)

    @property
    def whole(self) -> WholeCurves:
        """The curves up to the full and the blank image, missing regions as one last step."""
        return whole_curves(self)

    @property
    def objective(self) -> Float32[np.ndarray, "_"]:
        """The search's objective F of each chosen prefix, from one region to k."""
        return objective_along(self)[1 : self.order.size + 1].astype(np.float32)

    @property
    def saliency(self) -> Float32[np.ndarray, "H W"]:
        """Map over the pixels, from 0 to 1: `map` without what speaks against the answer."""
        return shown_map(self.map())

    @checked
    def map(
        self, target: MapTarget = None, by: MapKind | None = None
    ) -> Float32[np.ndarray, "H W"]:
        """Map over the pixels for all target tokens, or for a word of the answer.

        Several partitions give their mean of the values per area, see docs/methods.md.

        Args:
          target: word or phrase of the answer, or positions in the answer, among the target
            tokens; None for all target tokens.
          by: "values" paints the value of each region, mean over the tokens, in probability:
            below 0 where it speaks against them. "order" is the published map, from 1 on the
            first region of the order to 0 on the last. None takes the values, or the heat of a
            method, stretched from 0 to 1, or else the order.

        Raises:
          InputError: the target is not among the target tokens, or there are no values.

        References:
          By the order: EAGLE, arXiv 2509.22496, section 3.
        """
        return map_of(self, target, by)

    @checked
    def map_errors(self, target: MapTarget = None) -> Float32[np.ndarray, "H W"]:
        """Standard error of `map` by values, for all target tokens or a word of the answer.

        Args:
          target: as in `map`.

        Raises:
          InputError: as in `map`.
        """
        return errors_of(self, target)

    @checked
    def part(self, target: str | Sequence[int]) -> "Attribution":
        """The explanation of a word of the answer, out of the explanation of all target tokens.

        It has the word's own values, map and curves; nothing is searched again. The order stays
        that of all target tokens; their interactions and heat are left out.

        Args:
          target: as in `map`.

        Raises:
          InputError: the target is not among the target tokens.
        """
        return part_of(self, target)

    @property
    def ranking(self) -> Int32[np.ndarray, "_"]:
        """Regions by their mean value over the target tokens; without values, the order.

        The order says which regions suffice together, the ranking what each region is worth.
        """
        if self.values is None:
            return self.order
        value = self.values.mean(0, dtype=np.float64)
        return np.argsort(-value, kind="stable").astype(np.int32)

    @property
    def reliance(self) -> Float32[np.ndarray, "t"]:
        """Perceptual evidence of each target token; near 0 the language prior carries it."""
        return token_reliance(self.whole.area, self.whole.insertion)

    @property
    def image_share(self) -> Interval:
        """Fraction of the words that rest on the image and not on the language prior.

        With a bootstrap interval over the words; see `eagle_jax.metrics.reliance.image_share`.
        """
        own, ends = ~self.counterfactual, self.whole.insertion[[-1, 0]]
        return image_share(valid_texts(self.answer_tokens), self.positions[own], *ends[:, own])

    @property
    def insertion_auc(self) -> float:
        """Insertion AUC of the mean over target tokens; higher is better."""
        return mean_auc(insertion_auc, self.whole.area, self.whole.insertion)

    @property
    def deletion_auc(self) -> float:
        """Deletion AUC of the mean over target tokens; lower is better."""
        return mean_auc(deletion_auc, self.whole.area, self.whole.deletion)

    def summary(self) -> str:
        """A few lines for people: answer, leading regions, AUCs and cost."""
        return summary_of(self)

    @property
    def partial(self) -> bool:
        """Whether only a part of the answer was explained."""
        return self.positions.size < self.answer_ids.size

    @property
    def counterfactual(self) -> Bool[np.ndarray, "t"]:
        """True where the scored id differs from the id in the answer."""
        return self.token_ids != self.answer_ids[self.positions]

    @property
    def search(self) -> str:
        """Name of EAGLE's search, or else of the method."""
        return str(self.options.get("search", self.method))

    @property
    def fill_name(self) -> str:
        """Name of the fill, or "an image"."""
        return self.fill if isinstance(self.fill, str) else "an image"

    @checked
    def plot(self, target: str | Sequence[int] | None = None) -> "matplotlib.figure.Figure":
        """Draws everything, or a word alone, in one figure, as `eagle_jax.plot` does."""
        return drawer("plot")(self, target)

    @checked
    def report(self, path: str | os.PathLike) -> None:
        """Writes the page that people share, as `eagle_jax.report` does.

        Args:
          path: name of the HTML file; an existing file is replaced.

        Raises:
          InputError: the image is missing, or the file cannot be written.
        """
        drawer("report")(self, path)

    def _repr_html_(self) -> str | None:
        """The page in a notebook; None, and with it the text form, without an image."""
        return None if self.image is None else drawer("report_frame")(self)

    def require_image(self, name: object = "the attribution") -> UInt8[np.ndarray, "H W 3"]:
        """The explained image.

        Args:
          name: name or folder of the attribution, for the message.

        Raises:
          InputError: the attribution was saved without its image.
        """
        if self.image is None:
            raise InputError(
                f"{name} was saved without its image: give the image, with --image or "
                "Attribution.with_image"
            )
        return self.image

    @checked
    def with_image(self, source: ImageSource) -> "Attribution":
        """The attribution with its image, for an attribution that was saved without it.

        Args:
          source: the explained image.

        Raises:
          InputError: the image cannot be read or has another size.
        """
        image = read_image(source)
        require_size(image, self.labels)
        return dataclasses.replace(self, image=image)

    @checked
    def save(self, folder: str | os.PathLike, figure: bool = False, image: bool = True) -> None:
        """Writes attribution.json, arrays.npz and image.png to a folder, all or nothing.

        Args:
          folder: folder to write to; missing parents are created, and an earlier attribution
            in it is replaced.
          figure: whether to draw figure.png as well.
          image: whether to write image.png, by far the largest file; without it `plot` needs
            `with_image` first.

        Raises:
          InputError: the folder holds something else or cannot be written, or the fields
            contradict each other (shapes, label range, order, probabilities).
        """
        files = storage.encode(vars(self), image)
        if figure:
            files[storage.FIGURE] = encoded(self.plot().savefig, format="png", dpi=200)
        storage.require_free(folder)
        write_folder(folder, files)

    @classmethod
    @checked
    def load(cls, folder: str | os.PathLike) -> "Attribution":
        """Reads what `save` wrote, checked against the digests recorded there.

        Args:
          folder: folder of a saved attribution.

        Raises:
          InputError: a file is missing, damaged or edited, or from a newer eagle-jax.
        """
        return cls(**storage.read(folder))
