// Every region in words, for readers who cannot point at it.
function regionTable(current, onmark) {
  const body = el("tbody");
  const fill = () => {
    if (!details.open) return;
    const explanation = current();
    body.replaceChildren(...explanation.order.map((region, i) => el("tr", {},
      el("td", {}, el("button", { type: "button", class: "plain",
        onfocus: () => onmark(region), onblur: () => onmark(null),
        onpointerenter: () => onmark(region), onpointerleave: () => onmark(null),
      }, String(i + 1))),
      el("td", {}, percent(explanation.covered[region])),
      el("td", {}, carriedBy(explanation, region).slice(0, 6).map(([chip, gain]) =>
        `${chipText(chip)} +${gain.toFixed(2)}`).join(", ") || "\u2013"))));
  };
  const details = el("details", { class: "regions", ontoggle: fill },
    el("summary", {}, "Every region, in words"),
    el("table", {}, el("thead", {}, el("tr", {},
      ["rank", "of the image", "tokens it carries"].map((title) => el("th", { scope: "col" }, title)))),
    body));
  details.fill = fill;
  return details;
}
