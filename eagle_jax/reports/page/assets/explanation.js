// An explanation as the page holds it: arrays unpacked, and what follows from them.

// A value is apart from 0 if it is at least this number of its standard errors away from it.
const APART = 2;
// The largest value of a map, as a fraction of the largest value of any target, from which on it
// is drawn in full colour.
const FAINT = 0.05;

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
  if (data.values !== null)
    explanation.values = { ...data.values, values: unpack(data.values.values, Float32Array),
      errors: unpack(data.values.errors, Float32Array) };
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

// What each region is worth to some targets, null for all of them: the mean of their values, with
// its standard error; errors of different targets are independent.
function worthTo(explanation, chosen) {
  const { regions, values: { values, errors } } = explanation;
  const picked = chosen ?? everyTarget(explanation);
  const over = (add) => Float64Array.from({ length: regions }, (_, region) =>
    picked.reduce((sum, target) => sum + add(target * regions + region), 0));
  const worth = {
    values: over((i) => values[i]).map((sum) => sum / picked.length),
    errors: over((i) => errors[i] ** 2).map((sum) => Math.sqrt(sum) / picked.length),
  };
  worth.apart = Array.from(worth.values, (value, region) =>
    Math.abs(value) >= APART * worth.errors[region]);
  return worth;
}

// A map of the regions for some targets: values from -1 to 1, the largest 1 or -1; how far each may
// be off, on the same scale, where it is not apart from 0, and 0 elsewhere.
function mapOf(explanation, chosen) {
  const { regions } = explanation, doubt = new Float64Array(regions);
  if (explanation.values !== null) {
    const { values, errors, apart } = worthTo(explanation, chosen);
    // A word that the image hardly moves has a faint map, not one of noise.
    const largest = explanation.values.values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    const most = values.reduce((most, value) => Math.max(most, Math.abs(value)), FAINT * largest);
    errors.forEach((error, region) => {
      if (!apart[region]) doubt[region] = Math.min(1, APART * error / most);
    });
    return { values: values.map((value) => value / most), doubt, apart };
  }
  // Without values: for all targets as the method gave it, for some what a region adds to them.
  if (chosen === null) return { values: Float64Array.from(explanation.value), doubt, apart: null };
  const gains = gainsAlong(explanation, chosen);
  const most = Math.max(...gains.map(Math.abs), 1e-6);
  const values = new Float64Array(regions);
  explanation.order.forEach((region, i) => { values[region] = gains[i] / most; });
  return { values, doubt, apart: null };
}

// Regions by their value for some targets, the first the most important.
function leading(explanation, chosen, count) {
  if (chosen === null && explanation.values === null) return explanation.order.slice(0, count);
  const { values, apart } = mapOf(explanation, chosen);
  const regions = apart ? [...apart.keys()] : [...explanation.order];
  return regions.sort((a, b) => values[b] - values[a]).slice(0, count)
    .filter((region) => values[region] > 0.05 && (apart?.[region] ?? true));
}

// Chips that a region raises, the strongest first, with how far.
function carriedBy(explanation, region) {
  if (explanation.values !== null)
    return explanation.chips.filter((chip) => chip.scored.length)
      .map((chip) => [chip, worthTo(explanation, chip.scored)])
      .filter(([, { values, apart }]) => values[region] > 0.02 && apart[region])
      .map(([chip, { values }]) => [chip, values[region]])
      .sort((a, b) => b[1] - a[1]);
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
