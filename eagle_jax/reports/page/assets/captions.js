// What is seen, in words.

// The last step of the order that covers no more than a fraction of the image.
function stepAt(explanation, area) {
  let step = 0;
  while (step < explanation.order.length && explanation.area[step + 1] <= area + 1e-6) step++;
  return step;
}

function stepText(explanation, mode, step) {
  const share = percent(explanation.area[step]);
  const what = `the first ${step} of ${explanation.regions} regions, ${share} of the image`;
  return mode === "only" ? `Only ${what}, are shown.` : `Without ${what}.`;
}

function regionText(explanation, region) {
  const rank = explanation.rank.get(region);
  const place = rank === undefined
    ? "This region is not ranked" : `Rank ${rank} of ${explanation.regions}`;
  const carried = carriedBy(explanation, region).slice(0, 4).map(([chip, gain]) =>
    `${quoted(chipText(chip))} +${gain.toFixed(2)}`);
  return `${place}, ${percent(explanation.covered[region])} of the image. `
    + (explanation.estimates ? `It adds ${estimateOf(explanation, region)} to the objective. ` : "")
    + (carried.length ? `It carries ${carried.join(", ")}.` : "It carries no token by itself.");
}

// The importance of a region, as a search that models the scores estimates it.
const estimateOf = ({ estimates }, region) =>
  `${estimates.importance[region].toFixed(3)} \u00b1 ${estimates.uncertainty[region].toFixed(3)}`;

const chipText = (chip) => chip.instead ?? chip.text;

// How much some targets need the image.
function captionOf(explanation, chosen) {
  const all = everyTarget(explanation), picked = chosen ?? all;
  const named = explanation.chips
    .filter((chip) => chip.scored.some((target) => picked.includes(target)))
    .map((chip) => (chip.gap ? " " : "") + chipText(chip)).join("").trim();
  const cut = named.length > 60 ? named.slice(0, 59) + "\u2026" : named;
  const who = picked.length === all.length && all.length > 1 ? "The whole answer" : quoted(cut);
  const shown = meanCurve(explanation.insertion, all.length, picked);
  const full = meanCurve(explanation.deletion, all.length, picked)[0];
  const chance = picked.length > 1 ? "mean probability" : "probability";
  const between = `${chance} ${shown[0].toFixed(2)} on a blank image, `
    + `${full.toFixed(2)} on the whole image`;
  if (explanation.order.length === 0) return `${who}: ${between}.`;
  if (full - shown[0] <= -0.1)
    return `${who}: ${between}. The image speaks against it; regions that do so come last in the order.`;
  if (full - shown[0] < 0.1)
    return `${who}: ${between}. The image hardly changes it: language alone carries it.`;
  const step = sufficient(shown, full);
  const first = step === 1 ? "The first region" : `The first ${step} of ${explanation.regions} regions`;
  return `${who}: ${between}. ${first} (${percent(explanation.area[step])} of the image) `
    + `${step === 1 ? "brings" : "bring"} nine tenths of the difference.`;
}
