"""A few lines that say what an attribution found and what it cost."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution


def summary(attribution: "Attribution") -> str:
    """Answer, leading regions, AUCs and cost, a line each.

    Args:
      attribution: the explanation.
    """
    lines = {"answer": " ".join(attribution.answer.split())}
    if attribution.cut:
        lines["cut"] = attribution.cut
    if attribution.partial or attribution.counterfactual.any():
        lines["target"] = _targets(attribution)
    lines["regions"] = ("\n" + " " * 12).join(_regions(attribution))
    share = attribution.image_share
    if share.count:
        between = f" ({share.low:.0%} to {share.high:.0%})" if share.count > 1 else ""
        lines["image"] = f"{share.mean:.0%}{between} of the words rest on the image"
    lines["insertion"] = f"AUC {attribution.insertion_auc:.3f} (higher is better)"
    lines["deletion"] = f"AUC {attribution.deletion_auc:.3f} (lower is better)"
    if "search" in attribution.options:
        lines["search"] = _searched(attribution)
    if attribution.fill_name != "black":
        lines["fill"] = attribution.fill_name
    lines["cost"] = f"{attribution.forwards:,} forwards in {attribution.seconds:.1f} s"
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def _regions(attribution: "Attribution") -> list[str]:
    order, covered = attribution.order, np.diff(attribution.area)
    lines = [
        f"{rank + 1}. region {order[rank]}, {covered[rank]:.1%} of the image"
        for rank in range(min(3, order.size))
    ]
    if order.size < attribution.regions:
        reasons = {"interrupt": " by an interrupt", "budget": " by its budget"}
        why = reasons.get(str(attribution.options.get("ended")), "")
        lines.append(f"cut short{why} after {order.size} of {attribution.regions} regions")
    return lines


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
    text = attribution.search
    if chosen:
        text += f", chosen by {chosen}"
    if attribution.search == "exact":
        return text
    fraction = attribution.forwards / (attribution.regions * (attribution.regions + 1))
    return f"{text}: {fraction:.0%} of the forwards of the exact search"
