// An explanation as the page holds it: arrays unpacked, and what follows from them.

function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function readExplanation(data) {
  const runs = unpack(data.labels, Uint32Array);
  const labels = new Uint32Array(data.width * data.height);
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    labels.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  const explanation = { ...data, labels };
  explanation.controls = data.controls.map((control) => ({
    ...control,
    insertion: unpack(control.insertion, Float32Array),
    deletion: unpack(control.deletion, Float32Array),
  }));
  const covered = new Float64Array(data.regions);
  for (const label of labels) covered[label] += 1 / labels.length;
  explanation.covered = covered;
  return { ...explanation, ...readSearch(data) };
}

// The part that changes while a search runs.
function readSearch(data) {
  const order = data.order;
  const rank = new Map(order.map((region, i) => [region, i + 1]));
  return {
    order, rank, reliance: data.reliance, range: data.range, auc: data.auc,
    value: unpack(data.value, Float32Array),
    area: unpack(data.area, Float32Array),
    insertion: unpack(data.insertion, Float32Array),
    deletion: unpack(data.deletion, Float32Array),
  };
}

const targets = (explanation) => explanation.reliance.length;
const everyTarget = (explanation) => [...explanation.reliance.keys()];

// Mean over some targets of each row of a (rows, targets) array.
function meanCurve(values, count, chosen) {
  const means = new Float64Array(values.length / count);
  for (let row = 0; row < means.length; row++)
    for (const target of chosen) means[row] += values[row * count + target] / chosen.length;
  return means;
}

// What each step of the order brought some targets: insight and necessity together.
function gainsAlong(explanation, chosen) {
  const [insight, necessity] = explanation.weights;
  const shown = meanCurve(explanation.insertion, targets(explanation), chosen);
  const hidden = meanCurve(explanation.deletion, targets(explanation), chosen);
  return explanation.order.map((_, i) =>
    insight * (shown[i + 1] - shown[i]) + necessity * (hidden[i] - hidden[i + 1]));
}

// The value of each region for a map, -1 to 1: for all targets as the method gave it, for some
// targets what the region adds to them, scaled so that the largest value is 1.
function mapOf(explanation, chosen) {
  if (chosen === null) return Float64Array.from(explanation.value);
  const gains = gainsAlong(explanation, chosen);
  const most = Math.max(...gains.map(Math.abs), 1e-6);
  const values = new Float64Array(explanation.regions);
  explanation.order.forEach((region, i) => { values[region] = gains[i] / most; });
  return values;
}

// Regions by their value for some targets, the first the most important.
function leading(explanation, chosen, count) {
  if (chosen === null) return explanation.order.slice(0, count);
  const values = mapOf(explanation, chosen);
  return [...explanation.order].sort((a, b) => values[b] - values[a])
    .slice(0, count).filter((region) => values[region] > 0.05);
}

// Chips that a region raises, the strongest first, with how far.
function carriedBy(explanation, region) {
  const step = explanation.order.indexOf(region), count = targets(explanation);
  if (step < 0) return [];
  const [insight, necessity] = explanation.weights;
  const { insertion, deletion } = explanation;
  const gain = (target) => {
    const before = step * count + target, after = before + count;
    return insight * (insertion[after] - insertion[before])
      + necessity * (deletion[before] - deletion[after]);
  };
  return explanation.chips
    .map((chip) => [chip, chip.scored.reduce((sum, target) => sum + gain(target), 0)])
    .filter(([, gain]) => gain > 0.02)
    .sort((a, b) => b[1] - a[1]);
}

// Probability of a target when the first `step` regions are all there is, or are gone.
const chance = (explanation, mode, step, target) =>
  (mode === "without" ? explanation.deletion : explanation.insertion)[step * targets(explanation) + target];

// The first step that brings nine tenths of a rise from the blank to the whole image.
function sufficient(shown, full) {
  const goal = shown[0] + 0.9 * (full - shown[0]);
  const step = shown.findIndex((value) => value >= goal - 1e-9);
  return step < 0 ? shown.length - 1 : step;
}
