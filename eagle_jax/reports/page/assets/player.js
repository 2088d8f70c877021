// The bar at the bottom that moves all panels, and what the reader has chosen.

const PLAY_SECONDS = 8;

function playerView(shared, panels) {
  const steps = () => Math.max(...panels().map((panel) => panel.explanation.order.length));
  const leader = () => panels().find((panel) => panel.explanation.order.length === steps()).explanation;
  let timer = null;
  const slider = el("input", { type: "range", min: 0, value: 0, "aria-label": "Regions along the order",
    oninput: () => {
      shared.follow(leader().area[Number(slider.value)]);
      stop();
    } });
  const text = el("output", {});
  const button = el("button", { type: "button", class: "play", onclick: () => timer ? stop() : play() });
  const modes = choices("What the image shows", [
    ["map", "Map", "Where the answer comes from"],
    ["only", "Only these", "Only the first regions of the order are visible"],
    ["without", "Without these", "The first regions of the order are removed"],
  ], shared.mode, (mode) => { stop(); shared.show(mode); });

  function play() {
    if (stepAt(leader(), shared.area) >= steps()) shared.follow(0);
    timer = setInterval(() => {
      const step = stepAt(leader(), shared.area) + 1;
      if (step > steps()) return stop();
      shared.follow(leader().area[step]);
    }, Math.max(60, 1000 * PLAY_SECONDS / steps()));
    draw();
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    draw();
  }
  function draw() {
    const explanation = leader(), step = stepAt(explanation, shared.area);
    slider.max = steps();
    slider.value = step;
    slider.disabled = button.disabled = steps() === 0;
    button.textContent = timer ? "\u275a\u275a" : "\u25b6";
    button.setAttribute("aria-label", timer ? "Pause" : "Play");
    text.textContent = `${step} of ${explanation.regions} regions, ${percent(explanation.area[step])}`;
    slider.setAttribute("aria-valuetext", text.textContent);
    modes.choose(shared.mode);
  }
  return { element: el("div", { class: "player", role: "toolbar", "aria-label": "Playback" },
    button, slider, text, modes), draw, stop };
}

const unitChoices = (shared) => choices("What a click takes", [
  ["word", "Words", "A click takes a word"], ["token", "Tokens", "A click takes a token"],
  ["sentence", "Sentences", "A click takes a sentence"],
], shared.unit, (unit) => { shared.unit = unit; });

// What the reader has chosen, and who redraws when it changes.
function sharedState(redraw) {
  const shared = {
    mode: "map", area: 1, unit: "word", chosen: new Map(), hovered: null,
    follow(area, mode = null) {
      shared.area = area;
      if (mode !== null || shared.mode === "map") shared.mode = mode ?? "only";
      redraw();
    },
    show(mode) { shared.mode = mode; redraw(); },
    choose(key, positions) {
      shared.chosen.set(key, positions);
      shared.hovered = null;
      redraw();
    },
    hover(hovered) { shared.hovered = hovered; redraw(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      shared.chosen.clear();
      shared.hovered = null;
      shared.mode = "map";
      redraw();
    }
  });
  return shared;
}

// Many events a frame, one drawing.
function oncePerFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}
