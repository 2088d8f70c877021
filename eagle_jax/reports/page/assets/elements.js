// Making elements. Texts of models and files only ever become text nodes.

const SVG = "http://www.w3.org/2000/svg";

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const el = (tag, attributes = {}, ...children) =>
  make(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  make(document.createElementNS(SVG, tag), attributes, children);

const percent = (fraction) => (100 * fraction).toFixed(fraction < 0.0995 ? 1 : 0) + " %";
const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
const quoted = (text) => `\u201c${text}\u201d`;

// Radio buttons that look like a switch.
function choices(legend, options, value, onchange) {
  const name = `choice-${++choices.count}`;
  const inputs = options.map(([key, text, title]) =>
    el("label", { title },
      el("input", { type: "radio", name, value: key, checked: key === value,
        onchange: () => onchange(key) }),
      el("span", {}, text)));
  const set = el("fieldset", { class: "choices" }, el("legend", { class: "unseen" }, legend), inputs);
  set.choose = (key) => {
    for (const input of set.querySelectorAll("input")) input.checked = input.value === key;
  };
  return set;
}
choices.count = 0;
