// Importances with error bars, where a search estimates what it did not score.

const SHOWN = 10;

function estimatesView(explanation) {
  const { importance, uncertainty } = explanation.estimates;
  const regions = explanation.order.slice(0, SHOWN), tall = 18, left = 28, wide = 400;
  const ends = regions.flatMap((region) =>
    [importance[region] - uncertainty[region], importance[region] + uncertainty[region], 0]);
  const low = Math.min(...ends), high = Math.max(...ends);
  const x = (value) => left + (value - low) / (high - low || 1) * (wide - left - 8);
  const rows = regions.map((region, i) => {
    const y = i * tall + tall / 2, at = importance[region], error = uncertainty[region];
    return svg("g", { class: "estimate" },
      svg("title", {}, `rank ${i + 1}: ${estimateOf(explanation, region)}`),
      svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, String(i + 1)),
      svg("rect", { x: Math.min(x(0), x(at)), y: y - 5, width: Math.abs(x(at) - x(0)), height: 10 }),
      svg("path", { d: `M${x(at - error)} ${y}H${x(at + error)}M${x(at - error)} ${y - 4}v8`
        + `M${x(at + error)} ${y - 4}v8` }),
      svg("text", { x: wide + 4, y: y + 4 }, estimateOf(explanation, region)));
  });
  return el("figure", { class: "estimates" },
    el("figcaption", {}, "What the leading regions add to the objective, as the search estimates "
      + "it, with one standard error"),
    svg("svg", { viewBox: `0 0 ${wide + 96} ${tall * regions.length}`, role: "img",
      "aria-label": regions.map((region, i) =>
        `rank ${i + 1}: ${estimateOf(explanation, region)}`).join("; ") }, rows));
}
