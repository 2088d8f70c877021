// One finding: its picture, its answer, its curves, and how far to trust them.
//
// What is chosen is shared by all panels of a page:
//   mode      "map", "only" (the first regions alone are shown) or "without" (they are gone)
//   area      share of the picture up to which the order is followed
//   unit      what a click takes: "token", "word" or "sentence"
//   chosen    positions in the answer, none for all of it, by the answer's tokens
//   hovered   the same while the pointer rests on a token, else null

function panelView(finding, shared, several, ask = null) {
  // Panels of the same answer choose together.
  const same = finding.tokens.map((token) => token.text).join("\u0000");
  let marked = null;
  const picture = pictureView(finding, mark);
  const curves = curveView((area) => shared.follow(area));
  const chips = chipRow(finding, pick, preview, ask !== null);
  const caption = el("p", { class: "caption", "aria-live": "polite" });
  const reading = el("p", { class: "reading", "aria-live": "polite" });
  const scale = el("p", { class: "scale" });
  const key = legend();
  const trust = el("div"), regions = regionTable(() => finding, mark);
  const verdict = finding.diagnosis ? diagnosisView(finding, shared) : null;
  const element = el("article", { class: "panel" },
    el("header", {},
      several ? el("h2", {}, finding.name) : null,
      el("p", { class: "prompt" }, finding.prompt),
      chips.element, scale),
    el("div", { class: "seen" }, picture, key, reading),
    el("div", { class: "said" }, verdict?.element, caption,
      el("figure", {}, curves, curveLegend(finding))),
    el("div", { class: "more" }, trust, regions));

  function positions() {
    return shared.hovered?.key === same
      ? shared.hovered.positions : shared.chosen.get(same) ?? [];
  }

  function unitAt(index) {
    const groups = { token: [], word: finding.words, sentence: finding.sentences }[shared.unit];
    const members = groups.find((group) => group.includes(index)) ?? [index];
    return [...new Set(members.map((one) => finding.tokens[one]))]
      .filter((token) => token.scored !== null || ask !== null)
      .map((token) => token.position);
  }

  function pick(index, more) {
    const unit = unitAt(index), before = shared.chosen.get(same) ?? [];
    const scored = new Set(finding.tokens.filter((one) => one.scored !== null)
      .map((one) => one.position));
    const known = finding.order.length > 0 && unit.every((position) => scored.has(position));
    if (ask !== null && !known) return ask(unit);
    const has = unit.every((position) => before.includes(position));
    const others = before.filter((position) => !unit.includes(position));
    const alone = has && others.length === 0;
    shared.choose(same, more ? (has ? others : [...others, ...unit]) : alone ? [] : unit);
  }

  function preview(index) {
    const unit = index === null ? null : unitAt(index);
    shared.hover(unit?.length ? { key: same, positions: unit } : null);
  }

  function mark(region) {
    if (region === marked) return;
    marked = region;
    render();
  }

  function render() {
    const wanted = positions();
    const chosen = wanted.length === 0 ? null : finding.tokens
      .filter((token) => token.scored !== null && wanted.includes(token.position))
      .map((token) => token.scored);
    const picked = chosen?.length ? chosen : null;
    const step = stepAt(finding, shared.area), mode = shared.mode;
    const told = captionOf(finding, picked);
    // Of a diagnosis it is what speaks against the right answer that one wants to see.
    const mapped = picked ?? (finding.diagnosis ? everyTarget(finding) : null);
    picture.draw({ mode, step, marked, told: mode === "map" ? told : stepText(finding, mode, step),
      values: mapOf(finding, mapped), leading: leading(finding, mapped, BADGES) });
    key.hidden = mode !== "map";
    curves.draw(finding, picked, mode, step);
    chips.draw(wanted, mode, step, marked === null ? [] : carriedBy(finding, marked));
    caption.textContent = told;
    reading.textContent = marked === null
      ? (mode === "map" ? "Point at a region of the picture to see what it carries."
        : stepText(finding, mode, step))
      : regionText(finding, marked);
    verdict?.draw(mode, step);
  }

  function begin() {
    trust.replaceChildren(...(finding.order.length ? [trustView(finding)] : []));
    scale.replaceChildren(...chips.scale());
    regions.fill();
  }

  begin();
  return {
    element, render,
    get finding() { return finding; },
    update(search) {
      Object.assign(finding, search);
      begin();
    },
  };
}

function legend() {
  return el("p", { class: "legend" },
    el("span", { class: "swatch against" }), "speaks against",
    el("span", { class: "swatch for" }), "speaks for the answer",
    el("span", { class: "badge" }, "1"), "leading regions");
}

function curveLegend(finding) {
  return el("figcaption", {},
    el("span", { class: "key insertion" }), "only the first regions shown (insertion)",
    el("span", { class: "key deletion" }), "the first regions removed (deletion)",
    finding.controls.length ? [el("span", { class: "key control" }), "random orders"] : null,
    el("span", {}, "\u00a0\u00b7 Drag to follow the order."));
}
