// The answer as buttons: a token each, or the tokens that spell a character together. Arrow keys
// move between them, Enter or a click chooses, with Shift several.
function chipRow(explanation, onpick, onpreview, asking) {
  const buttons = explanation.chips.map((chip, index) => {
    const usable = chip.scored.length > 0 || asking;
    const parts = el("span", { class: "parts" });
    const button = el("button", {
      type: "button", class: "chip" + (chip.small ? " small" : "")
        + (explanation.chips[index + 1]?.gap ? " gap" : ""),
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
    }, parts, el("span", { class: "text" }, chipText(chip)),
      chip.instead === null ? null
        : el("span", { class: "said" }, `instead of ${chip.text}`));
    return { chip, button, parts, usable };
  });
  const element = el("div", { class: "chips", role: "group",
    "aria-label": "The answer, token by token" },
    buttons.map(({ button, chip }) => chip.newline ? [button, el("br")] : button));
  const first = buttons.find(({ usable }) => usable);
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

  // A part of a chip for each token that was scored: its reliance as a colour, its probability
  // as a bar.
  function drawPart(part, reliance, probability) {
    const [low, high] = explanation.range, level = (reliance - low) / (high - low);
    part.classList.toggle("seen", level >= 0.5);
    part.style.setProperty("--level", `${Math.round(Math.abs(level - 0.5) * 130)}%`);
    part.firstChild.style.setProperty("--chance", Math.min(1, probability));
  }

  function draw(positions, mode, step, carried) {
    const gains = new Map(carried);
    for (const { chip, button, parts } of buttons) {
      const { scored } = chip;
      button.setAttribute("aria-pressed",
        String(chip.positions.some((position) => positions.includes(position))));
      button.classList.toggle("unscored", scored.length === 0);
      button.classList.toggle("carried", gains.has(chip));
      while (parts.children.length < scored.length)
        parts.append(el("span", { class: "part" }, el("span", { class: "bar" })));
      button.title = scored.map((target, i) => {
        const reliance = explanation.reliance[target];
        const probability = mode === "map"
          ? explanation.deletion[target] : chance(explanation, mode, step, target);
        drawPart(parts.children[i], reliance, probability);
        return (scored.length > 1 ? `token ${i + 1}: ` : "")
          + `probability ${probability.toFixed(3)}, reliance ${reliance.toFixed(3)}`;
      }).join("\n");
      button.setAttribute("aria-description", button.title);
    }
  }

  const scale = () => [
    el("span", {}, `language alone ${explanation.range[0].toFixed(2)}`),
    el("span", { class: "ramp" }),
    el("span", {}, `read off the image ${explanation.range[1].toFixed(2)}`),
    el("span", { class: "hint" }, "bar: probability"),
    el("span", { class: "hint share" }, explanation.share),
  ];
  return { element, draw, scale };
}
