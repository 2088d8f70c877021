// The image under its map: which regions matter, or which of them are visible.

const FOR = [213, 94, 0], AGAINST = [0, 114, 178], MARK = [255, 216, 74];
const BADGES = 5;
// Longest side of the hatching in pixels, at least.
const HATCHED = 900;

const rgba = ([red, green, blue], alpha) =>
  ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function imageView(explanation, onregion) {
  const { width, height, labels } = explanation;
  const canvas = el("canvas", { width, height, role: "img" });
  const hatching = hatchView(labels, width, height);
  const badges = el("div", { class: "badges", "aria-hidden": "true" });
  const image = el("img", { src: explanation.image, width, height, alt: "" });
  const view = el("div", { class: "image" }, image, canvas, hatching, badges);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const out = new Uint32Array(pixels.data.buffer);
  const borders = borderPixels(labels, width, height);
  const fill = fillPixels(explanation, () => drawn && view.draw(drawn));
  let drawn = null;
  view.style.setProperty("--ratio", width / height);

  const regionAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * width);
    const y = Math.floor((event.clientY - box.top) / box.height * height);
    return x < 0 || y < 0 || x >= width || y >= height ? null : labels[y * width + x];
  };
  canvas.addEventListener("pointermove", (event) => onregion(regionAt(event)));
  canvas.addEventListener("pointerdown", (event) => onregion(regionAt(event)));
  // A finger leaves as soon as it is lifted: the region it touched stays marked.
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") onregion(null);
  });

  function paintMap({ values }) {
    const colours = Uint32Array.from(values, (value) =>
      rgba(value < 0 ? AGAINST : FOR, 0.8 * Math.min(1, Math.abs(value))));
    for (let i = 0; i < out.length; i++) out[i] = colours[labels[i]];
    const line = rgba([255, 255, 255], 0.25);
    for (const i of borders) if (out[i] >>> 24 < 40) out[i] = line;
  }

  // Regions of the order up to a step are visible, or all others.
  function paintFill(step, only) {
    const taken = new Set(explanation.order.slice(0, step)), filled = fill();
    const hidden = Array.from({ length: explanation.regions }, (_, region) =>
      taken.has(region) !== only);
    for (let i = 0; i < out.length; i++) out[i] = filled && hidden[labels[i]] ? filled[i] : 0;
  }

  // state: mode ("map", "only", "without"), step, map, leading regions, marked, label of the image
  // in words.
  view.draw = (state) => {
    drawn = state;
    if (state.mode === "map") paintMap(state.map);
    else paintFill(state.step, state.mode === "only");
    if (state.marked !== null) outline(out, labels, width, height, state.marked);
    context.putImageData(pixels, 0, 0);
    hatching.draw(state.mode === "map" ? state.map : null);
    image.classList.toggle("grey", state.mode === "map");
    badges.replaceChildren(...(state.mode === "map" ? state.leading : []).map((region, i) => {
      const badge = el("span", {}, String(i + 1));
      badge.style.setProperty("left", 100 * explanation.centres[region][0] / width + "%");
      badge.style.setProperty("top", 100 * explanation.centres[region][1] / height + "%");
      return badge;
    }));
    canvas.setAttribute("aria-label", state.label);
  };
  return view;
}

// Lines over the regions whose value is not apart from 0, the stronger the further it may be off.
// They are finer than the pixels of a small image.
function hatchView(labels, width, height) {
  const finer = Math.ceil(HATCHED / Math.max(width, height)), wide = width * finer, high = height * finer;
  const period = Math.round(Math.max(wide, high) / 80);
  const view = el("canvas", { class: "hatching", width: wide, height: high, "aria-hidden": "true" });
  const context = view.getContext("2d");
  view.draw = (map) => {
    view.hidden = map === null || map.apart === null;
    if (view.hidden) return;
    const pixels = context.createImageData(wide, high);
    const out = new Uint32Array(pixels.data.buffer);
    const line = (colour) => Array.from(map.doubt, (off, region) =>
      map.apart[region] ? 0 : rgba([colour, colour, colour], 0.1 + 0.6 * off));
    const lines = [line(255), line(0)];
    for (let y = 0; y < high; y++)
      for (let x = period - 1 - y % period; x < wide; x += period)
        for (const side of [0, 1])
          if (x + side < wide)
            out[y * wide + x + side] =
              lines[side][labels[Math.floor(y / finer) * width + Math.floor((x + side) / finer)]];
    context.putImageData(pixels, 0, 0);
  };
  return view;
}

function borderPixels(labels, width, height) {
  const borders = [];
  for (let y = 0; y < height; y++)
    for (let x = 0, i = y * width; x < width; x++, i++)
      if ((x + 1 < width && labels[i] !== labels[i + 1])
        || (y + 1 < height && labels[i] !== labels[i + width])) borders.push(i);
  return borders;
}

function outline(out, labels, width, height, region) {
  const thick = Math.max(1, Math.round(Math.max(width, height) / 200));
  const colour = rgba(MARK, 1);
  for (let y = 0; y < height; y++)
    for (let x = 0, i = y * width; x < width; x++, i++) {
      if (labels[i] !== region) continue;
      const edge = x < thick || y < thick || x + thick >= width || y + thick >= height
        || labels[i - thick] !== region || labels[i + thick] !== region
        || labels[i - thick * width] !== region || labels[i + thick * width] !== region;
      if (edge) out[i] = colour;
    }
}

// Pixels of the fill, as numbers; null until its image is read, which draws anew.
function fillPixels({ fill, width, height }, ready) {
  if (fill.colour) return () => new Uint32Array(width * height).fill(rgba(fill.colour, 1));
  let pixels = null;
  const image = el("img", { src: fill.image });
  image.decode().then(() => {
    const context = el("canvas", { width, height }).getContext("2d");
    context.drawImage(image, 0, 0, width, height);
    pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    ready();
  });
  return () => pixels;
}
