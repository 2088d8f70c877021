// The live page: an image, a question, and a search to be watched.

const about = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const live = { image: null, reading: null, question: null, answered: null, asked: null, running: null };
const panels = [];
const history = new Map();

// The answer of the server; an error if it refuses.
async function reach(path, body, signal = null) {
  const response = await fetch(path, { method: "POST", body, signal }).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("The server cannot be reached.");
  });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({ error: `the server says ${response.status}` }));
  throw new Error(said.error);
}

const post = async (path, body) => (await reach(path, body)).json();

// Errors of the server and of the network as a line on the page.
async function trying(text, work) {
  tell(text, true);
  try {
    await work();
    tell("");
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, false, true);
  }
}

function tell(text, busy = false, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
  bar.hidden = !busy;
  if (busy) bar.removeAttribute("value");
}

async function take(file) {
  if (!file) return;
  live.reading = trying("Reading the image \u2026", async () => {
    live.image = (await post("/images", file)).image;
    seeThumbnail(URL.createObjectURL(file), file.name);
    question.focus();
  });
  await live.reading;
}

function seeThumbnail(url, name) {
  thumbnail.src = url;
  thumbnail.alt = name;
  thumbnail.hidden = false;
}

async function useDemo() {
  await trying("Fetching the image \u2026", async () => {
    live.image = (await post("/images?demo=1")).image;
    question.value = about.prompt;
  });
  if (live.image !== null) await ask();
}

async function ask() {
  // A question may be asked while its image is still on its way.
  await live.reading;
  if (live.image === null) return tell("Drop an image first.", false, true);
  if (!question.value.trim()) return tell("Ask something about the image.", false, true);
  cancel();
  const latest = live.asked = Symbol();
  await trying("The model answers \u2026 (the first time its programs are compiled)", async () => {
    const body = JSON.stringify({ image: live.image, prompt: question.value });
    const found = await post("/questions", body);
    if (live.asked !== latest) return;
    live.question = found.question;
    live.answered = readExplanation(found.explanation);
    seeThumbnail(live.answered.image, "");
    show({ ...live.answered }, null);
    if (innerWidth < 760) progress.scrollIntoView();
  });
}

// Shows an explanation in place of the last.
function show(explanation, number) {
  shared.mode = "map";
  shared.area = 1;
  shared.chosen.clear();
  shared.hovered = null;
  panels.splice(0, panels.length, panelView(explanation, shared, false, search));
  shown.replaceChildren(panels[0].element);
  whole.hidden = explanation.order.length > 0
    && explanation.chips.every((chip) => chip.scored.length);
  hint.textContent = whole.hidden && explanation.values
    ? "Click a word to see its own map, without another search."
    : "Click a word to search for where it comes from.";
  download.hidden = number === null;
  if (number !== null) download.href = `/reports/${number}`;
  shown.before(tools);
  player.element.hidden = explanation.order.length === 0;
  redraw();
}

async function search(positions) {
  const key = JSON.stringify([live.question, positions]);
  if (history.has(key)) return recall(history.get(key));
  cancel();
  const running = live.running = new AbortController();
  stopping.hidden = false;
  await trying("The search begins \u2026", async () => {
    const asked = JSON.stringify({ question: live.question, positions });
    const response = await reach("/searches", asked, running.signal);
    for await (const [kind, value] of events(response.body)) {
      if (live.running !== running) return;
      if (kind === "waiting") tell(`Waiting for the model, ${value.ahead} before this \u2026`, true);
      if (kind === "failed") throw new Error(value.error);
      if (kind === "step") grow(positions, value);
      if (kind === "done") return finish(key, value);
    }
    throw new Error("The server ended before the search did.");
  });
  if (live.running === running) {
    live.running = null;
    stopping.hidden = true;
  }
}

// The image with the partial result of a search.
function grow(positions, value) {
  const base = live.answered, found = readSearch(value);
  tell(`Searching: ${found.order.length} of ${base.regions} regions found, `
    + `${plural(value.forwards, "masked image")}, ${value.seconds.toFixed(1)} s`, true);
  bar.max = value.planned ?? base.regions;
  bar.value = value.planned === null ? found.order.length : value.forwards;
  if (found.order.length === 0) return;
  const { forwards, seconds } = value;
  if (live.running.panel) {
    live.running.panel.update({ ...found, forwards, seconds });
    return redraw();
  }
  const chips = positions === null ? base.chips : base.chips.map((chip) => ({
    ...chip,
    scored: chip.positions.map((position) => positions.indexOf(position)).filter((i) => i >= 0),
  }));
  show({ ...base, ...found, chips, forwards, seconds }, null);
  live.running.panel = panels[0];
}

function finish(key, value) {
  const explanation = readExplanation(value.explanation);
  const scored = explanation.chips.filter((chip) => chip.scored.length);
  const name = scored.length === explanation.chips.length ? "whole answer"
    : scored.map((chip) => chip.text).join(" ");
  const entry = { explanation, number: value.number, question: live.question, answered: live.answered };
  history.set(key, entry);
  past.append(el("li", {}, el("button", { type: "button", onclick: () => recall(entry) },
    quoted(name.slice(0, 60)), el("small", {}, explanation.prompt.slice(0, 80)))));
  aside.hidden = false;
  show(explanation, value.number);
}

function recall(entry) {
  cancel();
  live.question = entry.question;
  live.answered = entry.answered;
  show(entry.explanation, entry.number);
}

function cancel() {
  live.running?.abort();
  live.running = null;
  stopping.hidden = true;
}

// Events of a stream as pairs of name and value.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, kind, text] = block.match(/^event: (.*)\ndata: (.*)$/) ?? [];
      if (kind) yield [kind, JSON.parse(text)];
    }
  }
}

const redraw = oncePerFrame(() => {
  if (!panels.length) return;
  panels[0].render();
  player.draw();
});
const shared = sharedState(redraw);

const status = el("p", { class: "status", role: "status" });
const bar = el("progress", { hidden: true, "aria-label": "Progress" });
const stopping = el("button", { type: "button", id: "cancel", hidden: true,
  onclick: () => {
    cancel();
    tell("Cancelled.");
    show({ ...live.answered }, null);
  } }, "Cancel");
const progress = el("div", { class: "progress" }, status, bar, stopping);
const thumbnail = el("img", { class: "thumbnail", hidden: true });
const question = el("textarea", { id: "question", rows: 1, placeholder: about.prompt,
  onkeydown: (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); ask(); }
  } });
const file = el("input", { type: "file", id: "file", accept: "image/*", class: "unseen",
  onchange: () => take(file.files[0]) });
const drop = el("label", { class: "drop" }, file, thumbnail,
  el("span", {}, "Drop an image here, paste an image, or choose a file"));
const shown = el("div", { class: "panels" });
const whole = el("button", { type: "button", id: "whole", onclick: () => search(null) },
  "Explain the whole answer");
const hint = el("span", { class: "hint" }, "Click a word to search for where it comes from.");
const download = el("a", { id: "download", hidden: true, download: "explanation.html" },
  "Download this page");
const tools = el("div", { class: "tools" }, unitChoices(shared), whole, hint, download);
const past = el("ol", {});
const aside = el("aside", { hidden: true, "aria-label": "History" }, el("h2", {}, "So far"), past);
const player = playerView(shared, () => panels);
player.element.hidden = true;

document.addEventListener("dragover", (event) => { event.preventDefault(); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files].find((entry) => entry.type.startsWith("image/"));
  if (pasted) take(pasted);
});

main.append(
  el("header", { class: "top" }, el("h1", {}, "Ask about an image"),
    el("p", {}, `The model ${quoted(about.model)} answers; click a word of its answer to see where `
      + "it comes from.")),
  el("form", { class: "asking", onsubmit: (event) => { event.preventDefault(); ask(); } },
    drop,
    el("div", { class: "prompting" }, el("label", { for: "question" }, "Question"), question,
      el("div", {}, el("button", { type: "submit", class: "main" }, "Ask"),
        el("button", { type: "button", id: "demo", onclick: useDemo }, "Try the demo image")))),
  progress,
  shown, aside, player.element);
