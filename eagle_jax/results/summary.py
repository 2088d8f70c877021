"""An attribution as a few lines of text."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution


def summary_of(attribution: "Attribution") -> str:
    """A few lines for people: answer, leading regions, AUCs and cost.

    Args:
      attribution: from `eagle_jax.explain`.
    """
    covered = np.diff(attribution.area)
    regions = [
        f"{rank + 1}. region {attribution.order[rank]}, {covered[rank]:.1%} of the image"
        for rank in range(min(3, attribution.order.size))
    ]
    if attribution.order.size < attribution.regions:
        reasons = {"interrupt": " by an interrupt", "budget": " by its budget"}
        why = reasons.get(str(attribution.options.get("ended")), "")
        regions.append(
            f"cut short{why} after {attribution.order.size} of {attribution.regions} regions"
        )
    lines = {"answer": " ".join(attribution.answer.split())}
    if attribution.system is not None:
        lines["system"] = " ".join(attribution.system.split())
    if attribution.thinking is not None:
        lines["thinking"] = attribution.thinking
    if attribution.cut:
        lines["cut"] = attribution.cut
    if attribution.partial or attribution.counterfactual.any():
        lines["target"] = _targets(attribution)
    lines["regions"] = ("\n" + " " * 12).join(regions)
    if share := share_text(attribution):
        lines["image"] = share
    lines["insertion"] = f"AUC {attribution.insertion_auc:.3f} (higher is better)"
    lines["deletion"] = f"AUC {attribution.deletion_auc:.3f} (lower is better)"
    if "search" in attribution.options:
        lines["search"] = _searched(attribution)
    if attribution.fill_name != "black":
        lines["fill"] = attribution.fill_name
    lines["cost"] = f"{attribution.forwards:,} forwards in {attribution.seconds:.1f} s"
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def share_text(attribution: "Attribution") -> str:
    """How much of the answer rests on the image, with its interval; empty without words."""
    share = attribution.image_share
    if share.count < 2:
        return f"{share.mean:.0%} of the word rests on the image" if share.count else ""
    return (
        f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%}) of the words rest on the image"
    )


def line_of(attribution: "Attribution") -> str:
    """One line that tells attributions apart.

    Args:
      attribution: from `eagle_jax.explain`.
    """
    answer = " ".join(attribution.answer.split())
    answer = answer if len(answer) <= 60 else answer[:59] + "\u2026"
    ordered, (height, width) = attribution.order.size, attribution.labels.shape
    return (
        f"<Attribution of {answer!r}: {ordered} of {attribution.regions} regions of a "
        f"{width} x {height} image in order, {attribution.search}, "
        f"{attribution.forwards:,} forwards>"
    )


def _targets(attribution: "Attribution") -> str:
    targets = zip(
        attribution.tokens, attribution.positions, attribution.counterfactual, strict=True
    )
    return ", ".join(
        repr(token)
        + (f" in place of {attribution.answer_tokens[position]!r}" if changed else "")
        for token, position, changed in targets
    )


def _searched(attribution: "Attribution") -> str:
    chosen = attribution.options.get("chosen_by")
    text = f"{attribution.search}, chosen by {chosen}" if chosen else attribution.search
    if attribution.search == "exact":
        return text
    partitions = attribution.options.get("partitions")
    if partitions is not None:
        return f"{text}, {partitions} partitions"
    fraction = attribution.forwards / (attribution.regions * (attribution.regions + 1))
    return f"{text}: {fraction:.0%} of the forwards of the exact search"
