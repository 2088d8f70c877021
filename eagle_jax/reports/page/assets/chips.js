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
