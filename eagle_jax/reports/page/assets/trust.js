// How far to trust an explanation: what it is held against, and what it cost.

const CONTROL_NAMES = {
  random: "random order", matched: "random order of like-sized regions",
  area: "largest regions first",
};

function trustView(finding) {
  const count = targets(finding), all = everyTarget(finding);
  const blank = meanCurve(finding.insertion, count, all)[0];
  const full = meanCurve(finding.deletion, count, all)[0];
  const [inserted, deleted] = finding.auc;
  const options = Object.entries(finding.options)
    .filter(([name]) => name !== "search").map(([name, value]) => `${name} ${value}`);
  const rows = [
    ["this explanation", finding.auc],
    ...finding.controls.map((one) => [
      (CONTROL_NAMES[one.name] ?? one.name) + (one.orders > 1 ? `, mean of ${one.orders}` : ""),
      one.auc]),
  ];
  const estimated = finding.estimates ? estimatesView(finding) : null;
  return el("section", { class: "trust" },
    el("h3", {}, "How far to trust this"),
    el("ul", { class: "verdicts" },
      verdicts(finding, blank, full).map(([kind, text]) => el("li", { class: kind }, text))),
    el("table", {},
      el("caption", {}, "Areas under the curves, mean over tokens"),
      el("thead", {}, el("tr", {},
        el("th", { scope: "col" }, "order of regions"),
        el("th", { scope: "col" }, "insertion (higher is better)"),
        el("th", { scope: "col" }, "deletion (lower is better)"))),
      el("tbody", {}, rows.map(([name, auc]) => el("tr", {},
        el("th", { scope: "row" }, name),
        auc.map((value) => el("td", {}, value.toFixed(3))))))),
    estimated,
    el("dl", {}, [
      ["whole picture", `mean probability ${full.toFixed(3)}`],
      ["blank picture", `mean probability ${blank.toFixed(3)}`],
      ["method", [finding.method, finding.options.search ?? null].filter(Boolean).join(", ")
        + (options.length ? ` (${options.join(", ")})` : "")],
      ["cost", `${plural(finding.forwards, "masked picture")} scored in `
        + `${finding.seconds.toFixed(1)} s`],
      ["model", finding.model],
    ].map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))));
}

function verdicts(finding, blank, full) {
  const found = [];
  const [inserted, deleted] = finding.auc;
  if (full - blank <= -0.1)
    found.push(["open", `The picture speaks against this answer: mean probability `
      + `${blank.toFixed(2)} without it, ${full.toFixed(2)} with it.`]);
  else if (full - blank < 0.1)
    found.push(["bad", `The answer hardly needs the picture: ${full.toFixed(2)} with it, `
      + `${blank.toFixed(2)} without. The map then means little.`]);
  else
    found.push(["good", `The picture matters: mean probability ${blank.toFixed(2)} without it, `
      + `${full.toFixed(2)} with it.`]);
  const others = finding.controls.filter((one) => one.name !== "area");
  if (others.length) {
    const best = Math.max(...others.map((one) => one.auc[0] - one.auc[1]));
    const lead = inserted - deleted - best;
    found.push(lead > 0.02
      ? ["good", `The order beats random ones by ${lead.toFixed(2)} (insertion less deletion).`]
      : ["bad", "The order is no better than a random one."]);
  } else {
    found.push(["open", "Not held against random orders, which also raise the score; "
      + "eagle-jax run --controls N scores some."]);
  }
  if (finding.order.length < finding.regions)
    found.push(["open", `The search stopped after ${finding.order.length} of `
      + `${finding.regions} regions; the others are not ranked.`]);
  return found;
}
