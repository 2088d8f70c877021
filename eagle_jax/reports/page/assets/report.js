// The page of a report: panels side by side, and the bar that moves them.

const panels = [];
const redraw = oncePerFrame(() => {
  for (const panel of panels) panel.render();
  player.draw();
});
const shared = sharedState(redraw);
const player = playerView(shared, () => panels);
const { explanations } = JSON.parse(document.getElementById("data").textContent);
for (const data of explanations) panels.push(panelView(readExplanation(data), shared, explanations.length > 1));

document.querySelector("main").append(
  el("header", { class: "top" },
    el("h1", {}, "Where did the answer come from?"),
    el("p", {}, "Click a word to see which regions of the image it rests on; with Shift, "
      + "several words. Drag the bar below to show the image region by region. Escape goes back "
      + "to the whole answer."),
    unitChoices(shared)),
  el("div", { class: explanations.length > 1 ? "panels several" : "panels" },
    panels.map((panel) => panel.element)),
  player.element);
redraw();
