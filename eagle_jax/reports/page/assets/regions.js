// Every region in words, for those who cannot point at it.
function regionTable(current, onmark) {
  const body = el("tbody");
  const fill = () => {
    if (!details.open) return;
    const finding = current();
    const names = new Map(finding.tokens.map((token) => [token.scored, token]));
    body.replaceChildren(...finding.order.map((region, i) => el("tr", {},
      el("td", {}, el("button", { type: "button", class: "plain",
        onfocus: () => onmark(region), onblur: () => onmark(null),
        onpointerenter: () => onmark(region), onpointerleave: () => onmark(null),
      }, String(i + 1))),
      el("td", {}, percent(finding.covered[region])),
      el("td", {}, carriedBy(finding, region).slice(0, 6).map(([target, gain]) =>
        `${tokenText(names.get(target))} +${gain.toFixed(2)}`).join(", ") || "\u2013"))));
  };
  const details = el("details", { class: "regions", ontoggle: fill },
    el("summary", {}, "Every region, in words"),
    el("table", {}, el("thead", {}, el("tr", {},
      ["rank", "of the picture", "tokens it carries"].map((one) => el("th", { scope: "col" }, one)))),
    body));
  details.fill = fill;
  return details;
}
