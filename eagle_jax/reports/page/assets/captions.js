// What is seen, in words.

// The last step of the order that covers no more than a share of the picture.
function stepAt(finding, area) {
  let step = 0;
  while (step < finding.order.length && finding.area[step + 1] <= area + 1e-6) step++;
  return step;
}

function stepText(finding, mode, step) {
  const share = percent(finding.area[step]);
  const what = `the first ${step} of ${finding.regions} regions, ${share} of the picture`;
  return mode === "only" ? `Only ${what}, are shown.` : `Without ${what}.`;
}

function regionText(finding, region) {
  const rank = finding.rank.get(region);
  const place = rank === undefined
    ? "This region is not ranked" : `Rank ${rank} of ${finding.regions}`;
  const names = new Map(finding.tokens.map((token) => [token.scored, token]));
  const carried = carriedBy(finding, region).slice(0, 4).map(([target, gain]) =>
    `${quoted(tokenText(names.get(target)))} +${gain.toFixed(2)}`);
  return `${place}, ${percent(finding.covered[region])} of the picture. `
    + (finding.estimates ? `It adds ${estimateOf(finding, region)} to the objective. ` : "")
    + (carried.length ? `It carries ${carried.join(", ")}.` : "It carries no token by itself.");
}

// The importance of a region, as a search that models the scores estimates it.
const estimateOf = ({ estimates }, region) =>
  `${estimates.importance[region].toFixed(3)} \u00b1 ${estimates.uncertainty[region].toFixed(3)}`;

const tokenText = (token) => token.instead ?? token.text;

// In words: what some targets need of the picture.
function captionOf(finding, chosen) {
  const all = everyTarget(finding), picked = chosen ?? all;
  const named = finding.tokens
    .filter((token) => token.scored !== null && picked.includes(token.scored))
    .map((token) => (token.gap ? " " : "") + tokenText(token)).join("").trim();
  const cut = named.length > 60 ? named.slice(0, 59) + "\u2026" : named;
  const who = picked.length === all.length && all.length > 1 ? "The whole answer" : quoted(cut);
  const shown = meanCurve(finding.insertion, all.length, picked);
  const full = meanCurve(finding.deletion, all.length, picked)[0];
  const chance = picked.length > 1 ? "mean probability" : "probability";
  const between = `${chance} ${shown[0].toFixed(2)} on a blank picture, `
    + `${full.toFixed(2)} on the whole one`;
  if (finding.order.length === 0) return `${who}: ${between}.`;
  if (full - shown[0] <= -0.1)
    return `${who}: ${between}. The picture speaks against it; what does so comes last in the order.`;
  if (full - shown[0] < 0.1)
    return `${who}: ${between}. The picture hardly changes it: language alone carries it.`;
  const step = sufficient(shown, full);
  const first = step === 1 ? "The first region" : `The first ${step} of ${finding.regions} regions`;
  return `${who}: ${between}. ${first} (${percent(finding.area[step])} of the picture) `
    + `${step === 1 ? "brings" : "bring"} nine tenths of the difference.`;
}
