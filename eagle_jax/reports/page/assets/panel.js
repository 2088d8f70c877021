// One explanation: its image, its answer, its curves, and how far to trust them.
//
// What is chosen is shared by all panels of a page:
//   mode      "map", "only" (the first regions alone are shown) or "without" (they are gone)
//   area      fraction of the image up to which the order is followed
//   unit      what a click takes: "token", "word" or "sentence"
//   chosen    positions in the answer, none for all of it, by the answer's chips
//   hovered   positions while the pointer rests on a chip, else null

function panelView(explanation, shared, several, ask = null) {
  // Panels of the same answer choose together.
  const same = explanation.chips.map((chip) => chip.text).join("\u0000");
  let marked = null, estimates = null;
  const image = imageView(explanation, mark);
  const curves = curveView((area) => shared.follow(area));
  const chips = chipRow(explanation, pick, preview, ask !== null);
  const caption = el("p", { class: "caption", "aria-live": "polite" });
  const reading = el("p", { class: "reading", "aria-live": "polite" });
  const scale = el("p", { class: "scale" });
  const key = el("p", { class: "legend" });
  const trust = el("div"), regions = regionTable(() => explanation, mark);
  const verdict = explanation.diagnosis ? diagnosisView(explanation, shared) : null;
  const element = el("article", { class: "panel" },
    el("header", {},
      several ? el("h2", {}, explanation.name) : null,
      el("p", { class: "prompt" }, explanation.prompt),
      chips.element, scale),
    el("div", { class: "seen" }, image, key, reading),
    el("div", { class: "said" }, verdict?.element, caption,
      el("figure", {}, curves, curveLegend(explanation))),
    el("div", { class: "more" }, trust, regions));

  function positions() {
    return shared.hovered?.key === same
      ? shared.hovered.positions : shared.chosen.get(same) ?? [];
  }

  function unitAt(index) {
    const groups = { token: [], word: explanation.words, sentence: explanation.sentences }[shared.unit];
    const members = groups.find((group) => group.includes(index)) ?? [index];
    return members.map((member) => explanation.chips[member])
      .filter((chip) => chip.scored.length || ask !== null)
      .flatMap((chip) => chip.positions);
  }

  function pick(index, more) {
    const unit = unitAt(index), before = shared.chosen.get(same) ?? [];
    const scored = new Set(explanation.chips
      .filter((chip) => chip.scored.length === chip.positions.length)
      .flatMap((chip) => chip.positions));
    const known = explanation.order.length > 0 && unit.every((position) => scored.has(position));
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
    const chosen = wanted.length === 0 ? null : explanation.chips
      .filter((chip) => chip.positions.some((position) => wanted.includes(position)))
      .flatMap((chip) => chip.scored);
    const picked = chosen?.length ? chosen : null;
    const step = stepAt(explanation, shared.area), mode = shared.mode;
    const said = captionOf(explanation, picked);
    // The map of a diagnosis shows what speaks against the right answer.
    const mapped = picked ?? (explanation.diagnosis ? everyTarget(explanation) : null);
    image.draw({ mode, step, marked, label: mode === "map" ? said : stepText(explanation, mode, step),
      map: mapOf(explanation, mapped), leading: leading(explanation, mapped, BADGES) });
    key.hidden = mode !== "map";
    curves.draw(explanation, picked, mode, step);
    chips.draw(wanted, mode, step, marked === null ? [] : carriedBy(explanation, marked));
    caption.textContent = said;
    reading.textContent = marked === null
      ? (mode === "map" ? "Point at a region of the image to see what it carries."
        : stepText(explanation, mode, step))
      : regionText(explanation, marked, picked);
    verdict?.draw(mode, step);
    estimates?.draw(picked);
  }

  function begin() {
    estimates = explanation.values ? estimatesView(explanation, mark) : null;
    trust.replaceChildren(...(explanation.order.length
      ? [trustView(explanation, estimates?.element)] : []));
    scale.replaceChildren(...chips.scale());
    key.replaceChildren(...legend(explanation));
    regions.fill();
  }

  begin();
  return {
    element, render,
    get explanation() { return explanation; },
    update(search) {
      Object.assign(explanation, search);
      begin();
    },
  };
}

function legend(explanation) {
  const doubtful = [el("span", { class: "swatch open" }), "not apart from 0"];
  return [
    el("span", { class: "swatch against" }), "speaks against",
    el("span", { class: "swatch for" }), "speaks for",
    ...(explanation.values ? doubtful : []),
    el("span", { class: "badge" }, "1"), explanation.values ? "worth most" : "leading regions",
  ];
}

function curveLegend(explanation) {
  return el("figcaption", {},
    el("span", { class: "key insertion" }), "only the first regions shown (insertion)",
    el("span", { class: "key deletion" }), "the first regions removed (deletion)",
    explanation.controls.length ? [el("span", { class: "key control" }), "random orders"] : null,
    el("span", {}, "\u00a0\u00b7 Drag to follow the order."));
}
