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

function regionText(explanation, region, picked) {
  const rank = explanation.rank.get(region);
  const place = rank === undefined
    ? "This region is not ranked" : `Rank ${rank} of ${explanation.regions}`;
  const carried = carriedBy(explanation, region).slice(0, 4).map(([chip, gain]) =>
    `${quoted(chipText(chip))} +${gain.toFixed(2)}`);
  return `${place}, ${percent(explanation.covered[region])} of the image. `
    + (explanation.values ? worthText(explanation, region, picked) : "")
    + (carried.length ? `It carries ${carried.join(", ")}.` : "It carries no token by itself.");
}

const withError = ({ values, errors }, region) =>
  `${values[region].toFixed(3)} \u00b1 ${errors[region].toFixed(3)}`;

// What a region is worth to some targets, and to which part of what the image adds to them.
function worthText(explanation, region, picked) {
  const worth = worthTo(explanation, picked);
  const added = worth.values.reduce((sum, value) => sum + value, 0);
  const said = `It is worth ${withError(worth, region)} to ${nameOf(explanation, picked)}`;
  if (!worth.apart[region]) return `${said}, not apart from 0. `;
  return Math.abs(added) < 0.1 ? `${said}. `
    : `${said}, ${percent(worth.values[region] / added)} of what the image adds. `;
}

const chipText = (chip) => chip.instead ?? chip.text;

// Some targets as they stand in the answer.
function nameOf(explanation, chosen) {
  const all = everyTarget(explanation), picked = chosen ?? all;
  if (picked.length === all.length && all.length > 1) return "the whole answer";
  const named = explanation.chips
    .filter((chip) => chip.scored.some((target) => picked.includes(target)))
    .map((chip) => (chip.gap ? " " : "") + chipText(chip)).join("").trim();
  const cut = named.length > 60 ? named.slice(0, 59) + "\u2026" : named;
  return quoted(cut);
}

// How much some targets need the image.
function captionOf(explanation, chosen) {
  const all = everyTarget(explanation), picked = chosen ?? all;
  const who = nameOf(explanation, chosen).replace(/^t/, "T");
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
