// Probability against the fraction of the image that is shown or removed, to be dragged along.

const PLOT = { width: 400, height: 230, left: 36, right: 24, top: 12, bottom: 38 };

function curveView(onarea) {
  const { width, height, left, right, top, bottom } = PLOT;
  const x = (area) => left + area * (width - left - right);
  const y = (value) => top + (1 - Math.min(1, value)) * (height - top - bottom);
  const path = (areas, values) =>
    Array.from(values, (value, i) => `${i ? "L" : "M"}${x(areas[i]).toFixed(1)} ${y(value).toFixed(1)}`)
      .join("");
  const lines = svg("g"), cursor = svg("g");
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const view = svg("svg", { class: "curves", viewBox: `0 0 ${width} ${height}`, role: "img" },
    ticks.map((tick) => [
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)),
      svg("text", { x: x(tick), y: height - bottom + 16, "text-anchor": "middle" },
        `${100 * tick} %`),
    ]),
    svg("text", { x: x(0.5), y: height - 4, "text-anchor": "middle" }, "fraction of the image"),
    lines, cursor);

  const areaAt = (event) => {
    const box = view.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * width;
    return Math.max(0, Math.min(1, (at - left) / (width - left - right)));
  };
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    onarea(areaAt(event));
  });
  view.addEventListener("pointermove", (event) => {
    if (view.hasPointerCapture(event.pointerId)) onarea(areaAt(event));
  });

  view.draw = (explanation, chosen, mode, step) => {
    const picked = chosen ?? everyTarget(explanation), count = targets(explanation);
    const paths = [];
    for (const control of explanation.controls) {
      const grid = Array.from({ length: control.insertion.length / count },
        (_, i) => i / (control.insertion.length / count - 1));
      for (const kind of ["insertion", "deletion"])
        paths.push(svg("path", { class: `control ${kind}`,
          d: path(grid, meanCurve(control[kind], count, picked)) },
          svg("title", {}, `${kind} along ${control.name} orders`)));
    }
    if (chosen !== null && chosen.length > 1 && chosen.length <= 12)
      for (const target of chosen)
        for (const kind of ["insertion", "deletion"])
          paths.push(svg("path", { class: `single ${kind}`,
            d: path(explanation.area, meanCurve(explanation[kind], count, [target])) }));
    const shown = meanCurve(explanation.insertion, count, picked);
    const hidden = meanCurve(explanation.deletion, count, picked);
    paths.push(
      svg("path", { class: "deletion", d: path(explanation.area, hidden) }),
      svg("path", { class: "insertion", d: path(explanation.area, shown) }));
    lines.replaceChildren(...paths);
    const at = x(explanation.area[step]);
    const dot = (kind, values) =>
      svg("circle", { class: kind, cx: at, cy: y(values[step]), r: 5 });
    cursor.replaceChildren(
      svg("line", { class: "cursor", x1: at, x2: at, y1: top, y2: height - bottom }),
      ...(mode === "without" ? [] : [dot("insertion", shown)]),
      ...(mode === "only" ? [] : [dot("deletion", hidden)]));
    view.setAttribute("aria-label",
      `At ${percent(explanation.area[step])} of the image: probability ${shown[step].toFixed(2)} `
      + `with only these regions shown, ${hidden[step].toFixed(2)} with them removed`);
  };
  return view;
}
