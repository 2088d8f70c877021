// How far to trust an explanation: what it is compared with, and what it cost.

const CONTROL_NAMES = {
  random: "random order", matched: "random order of regions of similar size",
  area: "largest regions first",
};

function trustView(explanation, estimates) {
  const count = targets(explanation), all = everyTarget(explanation);
  const blank = meanCurve(explanation.insertion, count, all)[0];
  const full = meanCurve(explanation.deletion, count, all)[0];
  const [inserted, deleted] = explanation.auc;
  const options = Object.entries(explanation.options)
    .filter(([name]) => name !== "search").map(([name, value]) => `${name} ${value}`);
  const rows = [
    ["this explanation", explanation.auc],
    ...explanation.controls.map(({ name, orders, auc }) => [
      (CONTROL_NAMES[name] ?? name) + (orders > 1 ? `, mean of ${orders}` : ""), auc]),
  ];
  return el("section", { class: "trust" },
    el("h3", {}, "How far to trust this"),
    el("ul", { class: "verdicts" },
      verdicts(explanation, blank, full).map(([kind, text]) => el("li", { class: kind }, text))),
    el("table", {},
      el("caption", {}, "Areas under the curves, mean over tokens"),
      el("thead", {}, el("tr", {},
        el("th", { scope: "col" }, "order of regions"),
        el("th", { scope: "col" }, "insertion (higher is better)"),
        el("th", { scope: "col" }, "deletion (lower is better)"))),
      el("tbody", {}, rows.map(([name, auc]) => el("tr", {},
        el("th", { scope: "row" }, name),
        auc.map((value) => el("td", {}, value.toFixed(3))))))),
    estimates,
    el("dl", {}, [
      ["whole image", `mean probability ${full.toFixed(3)}`],
      ["blank image", `mean probability ${blank.toFixed(3)}`],
      ["method", [explanation.method, explanation.options.search ?? null].filter(Boolean).join(", ")
        + (options.length ? ` (${options.join(", ")})` : "")],
      ["cost", `${plural(explanation.forwards, "masked image")} scored in `
        + `${explanation.seconds.toFixed(1)} s`],
      ["model", explanation.model],
    ].map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))));
}

function verdicts(explanation, blank, full) {
  const found = [];
  const [inserted, deleted] = explanation.auc;
  if (full - blank <= -0.1)
    found.push(["open", `The image speaks against this answer: mean probability `
      + `${blank.toFixed(2)} without it, ${full.toFixed(2)} with it.`]);
  else if (full - blank < 0.1)
    found.push(["bad", `The answer hardly needs the image: ${full.toFixed(2)} with it, `
      + `${blank.toFixed(2)} without. The map then means little.`]);
  else
    found.push(["good", `The image matters: mean probability ${blank.toFixed(2)} without it, `
      + `${full.toFixed(2)} with it.`]);
  const others = explanation.controls.filter(({ name }) => name !== "area");
  if (others.length) {
    const best = Math.max(...others.map(({ auc }) => auc[0] - auc[1]));
    const lead = inserted - deleted - best;
    found.push(lead > 0.02
      ? ["good", `The order beats random ones by ${lead.toFixed(2)} (insertion less deletion).`]
      : ["bad", "The order is no better than random orders."]);
  } else {
    found.push(["open", "Not compared with random orders, which also raise the score; "
      + "eagle-jax run --controls N scores N of them."]);
  }
  found.push(...valueVerdict(explanation));
  if (explanation.order.length < explanation.regions)
    found.push(["open", `The search stopped after ${explanation.order.length} of `
      + `${explanation.regions} regions; the others are not ranked.`]);
  return found;
}

// How far the map may be off.
function valueVerdict({ values }) {
  if (!values || values.unseen === null || values.gap === null) return [];
  return [[values.unseen < 0.1 ? "good" : "bad",
    `The map may be ${values.unseen < 0.1 ? "a little" : "far"} off: it rests on probabilities of `
    + `sets of regions that were not scored, predicted with a mean error of about `
    + `${values.unseen.toFixed(3)}. Values were corrected by up to `
    + `${values.gap.toFixed(3)} so that they add up to what the image adds.`]];
}
