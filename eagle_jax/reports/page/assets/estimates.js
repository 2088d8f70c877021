// What the regions are worth to the chosen targets, with error bars.

const SHOWN = 10;

function estimatesView(explanation, onregion) {
  const caption = el("figcaption"), tall = 18, left = 28, wide = 400;
  const drawing = svg("svg", { role: "img" });
  const element = el("figure", { class: "estimates" }, caption, drawing);

  function row(worth, region, rank, y, x) {
    const at = worth.values[region], error = worth.errors[region], said = withError(worth, region);
    return svg("g", { class: (worth.apart[region] ? "estimate" : "estimate open"),
      onpointerenter: () => onregion(region), onpointerleave: () => onregion(null) },
      svg("title", {}, `rank by value ${rank}: ${said}`),
      svg("rect", { class: "row", x: 0, y: y - tall / 2, width: wide + 96, height: tall }),
      svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, String(rank)),
      svg("rect", { class: at < 0 ? "against" : "for", x: Math.min(x(0), x(at)), y: y - 5,
        width: Math.abs(x(at) - x(0)), height: 10 }),
      svg("path", { d: `M${x(at - error)} ${y}H${x(at + error)}M${x(at - error)} ${y - 4}v8`
        + `M${x(at + error)} ${y - 4}v8` }),
      svg("text", { x: wide + 4, y: y + 4 }, said));
  }

  function draw(chosen) {
    const worth = worthTo(explanation, chosen), { values, errors } = worth;
    const ranked = [...values.keys()].sort((a, b) => values[b] - values[a]);
    const largest = [...ranked].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, SHOWN);
    const rows = ranked.map((region, i) => [region, i + 1]).filter(([region]) => largest.includes(region));
    const ends = largest.flatMap((region) => [values[region] - errors[region], values[region] + errors[region], 0]);
    const low = Math.min(...ends), high = Math.max(...ends);
    const x = (value) => left + (value - low) / (high - low || 1) * (wide - left - 8);
    caption.textContent = `What the regions are worth to ${nameOf(explanation, chosen)}: the largest `
      + "values, in probability, with one standard error. The values of all regions add up to what the "
      + "image adds.";
    drawing.setAttribute("viewBox", `0 0 ${wide + 96} ${tall * rows.length}`);
    drawing.setAttribute("aria-label", rows.map(([region, rank]) =>
      `rank by value ${rank}: ${withError(worth, region)}`).join("; "));
    drawing.replaceChildren(...rows.map(([region, rank], i) =>
      row(worth, region, rank, i * tall + tall / 2, x)));
  }
  return { element, draw };
}
