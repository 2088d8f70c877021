// What the model answers with only the first regions visible, and where the answer turns right.
function diagnosisView(explanation, shared) {
  const { label, answers, right, kept, after } = explanation.diagnosis;
  const go = (step) => shared.follow(explanation.area[step], "only");
  const cells = answers.map((answer, step) => el("span", {
    class: answer === null ? "unasked" : right[step] ? "right" : "wrong",
    title: answer === null ? `${step} regions: no answer` : `${step} regions: ${answer}`,
    onclick: () => go(step),
  }));
  if (kept !== null) cells[kept].classList.add("kept");
  const now = el("p", { class: "now", "aria-live": "polite" });
  const removed = kept === null ? null : explanation.regions - kept;
  const element = el("section", { class: "diagnosis" },
    el("h3", {}, `The right answer is ${quoted(label)}`),
    el("p", {}, kept === null
      ? "No removal of last regions makes the answer right."
      : `The answer turns right when the last ${plural(removed, "region")} `
        + `(${percent(1 - explanation.area[kept])} of the image) are removed. `,
    kept === null ? null
      : el("button", { type: "button", onclick: () => go(kept) }, "Show the correction")),
    el("div", { class: "cells", "aria-hidden": "true" }, cells),
    el("p", { class: "legend" },
      el("span", { class: "swatch right" }), "right", el("span", { class: "swatch wrong" }),
      "wrong", el("span", { class: "swatch kept" }), "least removal"),
    now);
  return { element, draw(mode, step) {
    const at = mode === "only" ? step : answers.length - 1;
    cells.forEach((cell, i) => cell.classList.toggle("here", i === at));
    const text = at === kept && after !== null ? after : answers[at];
    now.textContent = text === null
      ? `There is no answer with ${at} regions.`
      : `With ${at === answers.length - 1 ? "all" : "the first " + at} regions it answers: `
        + `${quoted(text)} ${right[at] ? "\u2713 right" : "\u2717 wrong"}`;
  } };
}
