// Every region in words, for readers who cannot point at it.
function regionTable(current, onmark) {
  const head = el("tr"), body = el("tbody");
  const fill = () => {
    if (!details.open) return;
    const explanation = current(), worth = explanation.values && worthTo(explanation, null);
    head.replaceChildren(...["rank", "of the image", ...(worth ? ["value, mean over tokens"] : []),
      "tokens it carries"].map((title) => el("th", { scope: "col" }, title)));
    body.replaceChildren(...explanation.order.map((region, i) => el("tr", {},
      el("td", {}, el("button", { type: "button", class: "plain",
        onfocus: () => onmark(region), onblur: () => onmark(null),
        onpointerenter: () => onmark(region), onpointerleave: () => onmark(null),
      }, String(i + 1))),
      el("td", {}, percent(explanation.covered[region])),
      worth ? el("td", {}, withError(worth, region)) : null,
      el("td", {}, carriedBy(explanation, region).slice(0, 6).map(([chip, gain]) =>
        `${chipText(chip)} +${gain.toFixed(2)}`).join(", ") || "\u2013"))));
  };
  const details = el("details", { class: "regions", ontoggle: fill },
    el("summary", {}, "Every region, in words"),
    el("table", {}, el("thead", {}, head), body));
  details.fill = fill;
  return details;
}
