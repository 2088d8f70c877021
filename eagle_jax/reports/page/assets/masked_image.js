// The picture under its map: which regions matter, or which of them are visible.

const FOR = [213, 94, 0], AGAINST = [0, 114, 178], MARK = [255, 216, 74];
const BADGES = 5;

const rgba = ([red, green, blue], alpha) =>
  ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function pictureView(finding, onregion) {
  const { width, height, labels } = finding;
  const canvas = el("canvas", { width, height, role: "img" });
  const badges = el("div", { class: "badges", "aria-hidden": "true" });
  const image = el("img", { src: finding.picture, width, height, alt: "" });
  const view = el("div", { class: "picture" }, image, canvas, badges);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const out = new Uint32Array(pixels.data.buffer);
  const borders = borderPixels(labels, width, height);
  const centres = deepestPixels(finding);
  view.style.setProperty("--ratio", width / height);

  const regionAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * width);
    const y = Math.floor((event.clientY - box.top) / box.height * height);
    return x < 0 || y < 0 || x >= width || y >= height ? null : labels[y * width + x];
  };
  canvas.addEventListener("pointermove", (event) => onregion(regionAt(event)));
  canvas.addEventListener("pointerdown", (event) => onregion(regionAt(event)));
  // A finger leaves as soon as it is lifted: what it touched stays marked.
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") onregion(null);
  });

  // state: mode ("map", "only", "without"), step, values of the map, leading regions, marked.
  view.draw = (state) => {
    const colours = new Uint32Array(finding.regions);
    if (state.mode === "map") {
      state.values.forEach((value, region) => {
        colours[region] = rgba(value < 0 ? AGAINST : FOR, 0.8 * Math.min(1, Math.abs(value)));
      });
    } else {
      const taken = new Set(finding.order.slice(0, state.step));
      for (let region = 0; region < finding.regions; region++)
        colours[region] = rgba([0, 0, 0], taken.has(region) === (state.mode === "only") ? 0 : 1);
    }
    for (let i = 0; i < out.length; i++) out[i] = colours[labels[i]];
    if (state.mode === "map") {
      const line = rgba([255, 255, 255], 0.25);
      for (const i of borders) if (out[i] >>> 24 < 40) out[i] = line;
    }
    if (state.marked !== null) outline(out, labels, width, height, state.marked);
    context.putImageData(pixels, 0, 0);
    image.classList.toggle("grey", state.mode === "map");
    badges.replaceChildren(...(state.mode === "map" ? state.leading : []).map((region, i) => {
      const badge = el("span", {}, String(i + 1));
      badge.style.setProperty("left", 100 * centres[region][0] / width + "%");
      badge.style.setProperty("top", 100 * centres[region][1] / height + "%");
      return badge;
    }));
    canvas.setAttribute("aria-label", state.told);
  };
  return view;
}

function borderPixels(labels, width, height) {
  const found = [];
  for (let y = 0; y < height; y++)
    for (let x = 0, i = y * width; x < width; x++, i++)
      if ((x + 1 < width && labels[i] !== labels[i + 1])
        || (y + 1 < height && labels[i] !== labels[i + width])) found.push(i);
  return found;
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

// For each region the pixel farthest from its outline: it lies inside even where the centre of
// mass does not. Distances by steps up, down and sideways, in two sweeps.
function deepestPixels({ labels, width, height, regions }) {
  const depth = new Uint16Array(labels.length);
  const grow = (i, j, inside) => inside && labels[i] === labels[j] ? depth[j] + 1 : 1;
  for (let y = 0; y < height; y++)
    for (let x = 0, i = y * width; x < width; x++, i++)
      depth[i] = Math.min(grow(i, i - 1, x > 0), grow(i, i - width, y > 0));
  const best = new Uint16Array(regions), place = Array.from({ length: regions }, () => [0, 0]);
  for (let y = height - 1; y >= 0; y--)
    for (let x = width - 1, i = y * width + x; x >= 0; x--, i--) {
      depth[i] = Math.min(depth[i], grow(i, i + 1, x + 1 < width),
        grow(i, i + width, y + 1 < height));
      if (depth[i] > best[labels[i]]) {
        best[labels[i]] = depth[i];
        place[labels[i]] = [x + 0.5, y + 0.5];
      }
    }
  return place;
}
