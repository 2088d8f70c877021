// The index of a run: what was measured, item by item, fifty at a time.

const PAGE = 50, BINS = 20;
const FIRST = ["insertion_auc", "deletion_auc", "gain_over_random", "correction", "mask_pointing",
  "box_pointing", "insertion_minus_deletion"];

const data = JSON.parse(document.getElementById("data").textContent);
const columns = Object.fromEntries(
  Object.entries(data.columns).map(([key, text]) => [key, unpack(text, Float32Array)]));
const measureOf = (key) => data.measures.find((measure) => measure.key === key);
const leadingMeasures = FIRST.map(measureOf).filter(Boolean).slice(0, 4);
const searchable = data.names.map((name, i) =>
  `${name}\n${data.prompts[i]}\n${data.answers[i]}\n${data.problems[i]}`.toLowerCase());
const state = { sort: "name", down: false, page: 0, filter: "all", text: "",
  measure: leadingMeasures[0]?.key ?? null, bin: null };

const lowest = (() => {
  const values = [...(columns.insertion_auc ?? [])].filter((value) => !Number.isNaN(value))
    .sort((a, b) => a - b);
  return values.length ? values[Math.floor((values.length - 1) / 10)] : NaN;
})();
const FILTERS = {
  all: ["all items", () => true],
  wrong: ["wrong answers", (i) => data.wrong[i] === true],
  lowest: ["lowest tenth of insertion", (i) => columns.insertion_auc?.[i] <= lowest],
  failures: ["without a page", (i) => data.problems[i] !== ""],
};
for (const { kind } of data.means)
  FILTERS[kind] = [`kind: ${kind}`, (i) => data.kinds[i] === kind];

// The leading measures, and the measure that the items are sorted by.
const shownMeasures = () =>
  [...new Set([...leadingMeasures, measureOf(state.sort)])].filter(Boolean);

// Edges of the bins of a measure, over all items.
function binsOf(key) {
  const values = [...columns[key]].filter(Number.isFinite);
  if (!values.length) return { low: 0, width: 1 / BINS, of: () => 0 };
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const width = (high - low) / BINS || 1;
  return { low, width, of: (value) => Math.min(BINS - 1, Math.floor((value - low) / width)) };
}

function matching() {
  const test = FILTERS[state.filter][1], words = state.text.toLowerCase().split(/\s+/);
  return data.names.map((_, i) => i).filter((i) =>
    test(i) && words.every((word) => searchable[i].includes(word)));
}

function sorted(items) {
  const sign = state.down ? -1 : 1;
  const values = columns[state.sort];
  const texts = { name: data.names, prompt: data.prompts, answer: data.answers }[state.sort];
  return items.sort((a, b) => {
    if (texts) return sign * (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : a - b);
    // Items without a value stand last, whichever way.
    const without = Number.isNaN(values[a]) - Number.isNaN(values[b]);
    return without || sign * (values[a] - values[b]) || a - b;
  });
}

function heading(key, text) {
  const on = state.sort === key;
  return el("th", { scope: "col", "aria-sort": on ? (state.down ? "descending" : "ascending") : null },
    el("button", { type: "button", class: "plain", "data-sort": key, onclick: () => {
      state.down = on ? !state.down : false;
      state.sort = key;
      state.page = 0;
      draw();
      table.querySelector(`[data-sort="${key}"]`).focus();
    } }, text, el("span", { "aria-hidden": "true" }, on ? (state.down ? " \u25bc" : " \u25b2") : "")));
}

function line(i) {
  const problem = data.problems[i];
  const title = problem ? el("span", {}, data.names[i])
    : el("a", { href: `items/${data.links[i]}.html` }, data.names[i]);
  return el("tr", { class: data.wrong[i] ? "wrong" : null },
    el("td", { class: "thumbnail" }, problem ? null
      : el("img", { src: `thumbnails/${data.links[i]}.jpg`, alt: "", loading: "lazy" })),
    el("th", { scope: "row" }, title,
      problem ? el("span", { class: "problem" }, problem) : null),
    el("td", { class: data.prompts[i] ? null : "none", "data-name": "asked" }, data.prompts[i]),
    el("td", { class: data.answers[i] ? null : "none", "data-name": "answer" }, data.answers[i],
      data.wrong[i] ? el("span", { class: "problem" }, "wrong") : null),
    shownMeasures().map(({ key, title }) => {
      const value = columns[key][i], known = !Number.isNaN(value);
      return el("td", { class: known ? "number" : "number none", "data-name": title },
        known ? value.toFixed(3) : "\u2013");
    }));
}

function histogram(items) {
  if (state.measure === null) return;
  const bins = binsOf(state.measure), counts = new Array(BINS).fill(0);
  for (const i of items) {
    const value = columns[state.measure][i];
    if (!Number.isNaN(value)) counts[bins.of(value)]++;
  }
  const most = Math.max(...counts, 1), wide = 500 / BINS;
  const edge = (bin) => (bins.low + bin * bins.width).toFixed(2);
  chart.replaceChildren(svg("svg", { viewBox: "0 0 500 130", role: "group",
    "aria-label": "Distribution; a bar shows only its items" },
    counts.map((count, bin) => svg("g", { class: "bin", role: "button", tabindex: count ? "0" : "-1",
      "aria-pressed": String(state.bin === bin),
      "aria-label": `${count} items from ${edge(bin)} to ${edge(bin + 1)}`,
      onclick: () => choose(bin),
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") {
        event.preventDefault(); choose(bin); } } },
      svg("rect", { class: "slot", x: bin * wide, y: 0, width: wide, height: 105 }),
      svg("rect", { x: bin * wide + 1, y: 105 - 100 * count / most, width: wide - 2,
        height: 100 * count / most }),
      svg("title", {}, `${count} items from ${edge(bin)} to ${edge(bin + 1)}`))),
    svg("text", { x: 0, y: 124 }, edge(0)),
    svg("text", { x: 500, y: 124, "text-anchor": "end" }, edge(BINS))));
}

function choose(bin) {
  state.bin = state.bin === bin ? null : bin;
  state.page = 0;
  draw();
  chart.querySelectorAll(".bin")[bin].focus();
}

function draw() {
  let items = matching();
  histogram(items);
  if (state.bin !== null) {
    const bins = binsOf(state.measure), values = columns[state.measure];
    items = items.filter((i) => !Number.isNaN(values[i]) && bins.of(values[i]) === state.bin);
  }
  items = sorted(items);
  const pages = Math.max(1, Math.ceil(items.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE, last = Math.min(items.length, first + PAGE);
  table.replaceChildren(
    el("thead", {}, el("tr", {}, el("td"), heading("name", "item"), heading("prompt", "asked"),
      heading("answer", "answer"), shownMeasures().map(({ key, title }) => heading(key, title)))),
    el("tbody", {}, items.slice(first, last).map(line)));
  count.textContent = items.length === 0 ? "No item matches."
    : `Items ${first + 1} to ${last} of ${items.length.toLocaleString("en")}`;
  sorting.value = state.sort;
  back.disabled = state.page === 0;
  on.disabled = state.page === pages - 1;
}

const change = (name, value) => {
  state[name] = value;
  state.page = 0;
  draw();
};
const table = el("table", { class: "items" });
const chart = el("div", { class: "chart" });
const count = el("p", { class: "count", "aria-live": "polite" });
const step = (by) => () => { state.page += by; draw(); };
const back = el("button", { type: "button", onclick: step(-1) }, "Previous");
const on = el("button", { type: "button", onclick: step(1) }, "Next");
const option = (selected) => ([value, text]) =>
  el("option", { value, selected: value === selected }, text);

const sorting = el("select", { id: "sort", onchange: () => change("sort", sorting.value) },
  [["name", "name"], ["prompt", "asked"], ["answer", "answer"],
    ...data.measures.map(({ key, title }) => [key, title])].map(option("name")));

function meansTable() {
  return el("details", { class: "means", open: innerWidth > 760 }, el("summary", {}, "Means with 95 % intervals"),
    el("div", { class: "wide" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "items"),
        leadingMeasures.map(({ title, better }) => el("th", { scope: "col" }, title
          + (better ? ` (${better} is better)` : ""))))),
      el("tbody", {}, data.means.map((group) => el("tr", {},
        el("th", { scope: "row" }, `${group.kind}: ${group.items}`),
        leadingMeasures.map(({ key }) => {
          const found = group.measures[key];
          const [mean, ...ends] = (found ?? []).map((value) => value.toFixed(3));
          return el("td", {}, (mean ?? "\u2013") + (ends.length ? ` (${ends.join(" to ")})` : ""));
        })))))));
}

document.querySelector("main").append(
  el("h1", {}, data.name),
  el("p", { class: "lead" }, `${plural(data.names.length, "item")}. Choose an item to see what each `
    + "word of its answer rests on."),
  meansTable(),
  el("div", { class: "tools" },
    el("label", {}, "Find", el("input", { type: "search", id: "find",
      oninput: (event) => change("text", event.target.value) })),
    el("label", {}, "Show", el("select", { id: "filter",
      onchange: (event) => change("filter", event.target.value) },
      Object.entries(FILTERS).map(([key, [text]]) => [key, text]).map(option("all")))),
    el("label", {}, "Sort by", sorting),
    el("button", { type: "button", onclick: () => change("down", !state.down) }, "Reverse"),
    state.measure === null ? null : el("label", {}, "Distribution of", el("select", { id: "measure",
      onchange: (event) => { state.bin = null; change("measure", event.target.value); } },
      data.measures.map(({ key, title }) => [key, title]).map(option(state.measure))))),
  chart,
  el("div", { class: "paging" }, count, back, on),
  table);
draw();
