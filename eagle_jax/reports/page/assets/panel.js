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
    picture.draw({ mode, step, marked, told: mode === "map" ? told : stepText(finding, mode, step),
      values: mapOf(finding, picked), leading: leading(finding, picked, BADGES) });
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

// The last step of the order that covers no more than a share of the picture.
function stepAt(finding, area) {
  let step = 0;
  while (step < finding.order.length && finding.area[step + 1] <= area + 1e-6) step++;
  return step;
}

function stepText(finding, mode, step) {
  const share = percent(finding.area[step]);
  const what = `the first ${step} of ${finding.regions} regions, ${share} of the picture`;
  return mode === "only" ? `Only ${what}, are shown.` : `Without ${what}.`;
}

function regionText(finding, region) {
  const rank = finding.rank.get(region);
  const place = rank === undefined
    ? "This region is not ranked" : `Rank ${rank} of ${finding.regions}`;
  const names = new Map(finding.tokens.map((token) => [token.scored, token]));
  const carried = carriedBy(finding, region).slice(0, 4).map(([target, gain]) =>
    `${quoted(tokenText(names.get(target)))} +${gain.toFixed(2)}`);
  return `${place}, ${percent(finding.covered[region])} of the picture. `
    + (carried.length ? `It carries ${carried.join(", ")}.` : "It carries no token by itself.");
}

const tokenText = (token) => token.instead ?? token.text;

// In words: what some targets need of the picture.
function captionOf(finding, chosen) {
  const all = everyTarget(finding), picked = chosen ?? all;
  const named = finding.tokens
    .filter((token) => token.scored !== null && picked.includes(token.scored))
    .map((token) => (token.gap ? " " : "") + tokenText(token)).join("").trim();
  const cut = named.length > 60 ? named.slice(0, 59) + "\u2026" : named;
  const who = picked.length === all.length && all.length > 1 ? "The whole answer" : quoted(cut);
  const shown = meanCurve(finding.insertion, all.length, picked);
  const full = meanCurve(finding.deletion, all.length, picked)[0];
  const chance = picked.length > 1 ? "mean probability" : "probability";
  const between = `${chance} ${shown[0].toFixed(2)} on a blank picture, `
    + `${full.toFixed(2)} on the whole one`;
  if (finding.order.length === 0) return `${who}: ${between}.`;
  if (full - shown[0] < 0.1)
    return `${who}: ${between}. The picture hardly changes it: language alone carries it.`;
  const step = sufficient(shown, full);
  const first = step === 1 ? "The first region" : `The first ${step} of ${finding.regions} regions`;
  return `${who}: ${between}. ${first} (${percent(finding.area[step])} of the picture) `
    + `${step === 1 ? "brings" : "bring"} nine tenths of the difference.`;
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

// The answer as buttons. Arrow keys move between them, Enter or a click chooses, with Shift
// several.
function chipRow(finding, onpick, onpreview, asking) {
  const buttons = finding.tokens.map((token, index) => {
    const usable = token.scored !== null || asking;
    const bar = el("span", { class: "bar" });
    const button = el("button", {
      type: "button", class: "chip" + (token.small ? " small" : "")
        + (finding.tokens[index + 1]?.gap ? " gap" : ""),
      disabled: !usable, tabindex: "-1", "aria-pressed": "false",
      onclick: (event) => onpick(index, event.shiftKey || event.ctrlKey || event.metaKey),
      onpointerenter: (event) => { if (event.pointerType === "mouse") onpreview(index); },
      onpointerleave: () => onpreview(null),
      onkeydown: (event) => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        focusOn(index, by);
      },
    }, el("span", { class: "text" }, tokenText(token)),
      token.instead === undefined ? null
        : el("span", { class: "said" }, `instead of ${token.text}`), bar);
    return { token, button, bar, usable };
  });
  const element = el("div", { class: "chips", role: "group",
    "aria-label": "The answer, token by token" },
    buttons.map(({ button, token }) => token.newline ? [button, el("br")] : button));
  const first = buttons.find((one) => one.usable);
  first?.button.setAttribute("tabindex", "0");

  function focusOn(index, by) {
    for (let next = index + by; next >= 0 && next < buttons.length; next += by)
      if (buttons[next].usable) {
        for (const { button } of buttons) button.setAttribute("tabindex", "-1");
        buttons[next].button.setAttribute("tabindex", "0");
        buttons[next].button.focus();
        return;
      }
  }

  const range = () => {
    const low = Math.min(...finding.reliance), high = Math.max(...finding.reliance);
    return high > low ? [low, high] : [0, 1];
  };

  function draw(positions, mode, step, carried) {
    const gains = new Map(carried), [low, high] = range();
    for (const { token, button, bar } of buttons) {
      const { scored } = token;
      button.setAttribute("aria-pressed", String(positions.includes(token.position)));
      button.classList.toggle("unscored", scored === null);
      if (scored === null) continue;
      const level = (finding.reliance[scored] - low) / (high - low);
      button.classList.toggle("seen", level >= 0.5);
      button.style.setProperty("--level", `${Math.round(Math.abs(level - 0.5) * 130)}%`);
      button.classList.toggle("carried", gains.has(scored));
      const value = mode === "map" ? finding.deletion[scored] : chance(finding, mode, step, scored);
      bar.style.setProperty("--chance", Math.min(1, value));
      button.title = `probability ${value.toFixed(3)}, reliance ${finding.reliance[scored].toFixed(3)}`;
      button.setAttribute("aria-description", button.title);
    }
  }

  const scale = () => [
    el("span", {}, `language alone ${range()[0].toFixed(2)}`), el("span", { class: "ramp" }),
    el("span", {}, `read off the picture ${range()[1].toFixed(2)}`),
    el("span", { class: "hint" }, "bar: probability"),
  ];
  return { element, draw, scale };
}

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

// What the model answers when only the first regions are left, and where that turns right.
function diagnosisView(finding, shared) {
  const { label, answers, right, kept, after } = finding.diagnosis;
  const go = (step) => shared.follow(finding.area[step], "only");
  const cells = answers.map((answer, step) => el("span", {
    class: answer === null ? "unasked" : right[step] ? "right" : "wrong",
    title: answer === null ? `${step} regions: not asked` : `${step} regions: ${answer}`,
    onclick: () => go(step),
  }));
  if (kept !== null) cells[kept].classList.add("kept");
  const now = el("p", { class: "now", "aria-live": "polite" });
  const removed = kept === null ? null : finding.order.length - kept;
  const element = el("section", { class: "diagnosis" },
    el("h3", {}, `The right answer is ${quoted(label)}`),
    el("p", {}, kept === null
      ? "No removal of last regions makes the answer right."
      : `The answer turns right when the last ${plural(removed, "region")} `
        + `(${percent(1 - finding.area[kept])} of the picture) are removed. `,
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
      ? `With ${at} regions the model was not asked.`
      : `With ${at === answers.length - 1 ? "all" : "the first " + at} regions it answers: `
        + `${quoted(text)} ${right[at] ? "\u2713 right" : "\u2717 wrong"}`;
  } };
}
