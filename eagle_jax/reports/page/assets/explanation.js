// A finding as the page holds it: arrays unpacked, and what follows from them.

function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function readFinding(data) {
  const runs = unpack(data.labels, Uint32Array);
  const labels = new Uint32Array(data.width * data.height);
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    labels.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  const finding = { ...data, labels };
  finding.controls = data.controls.map((one) => ({
    ...one,
    insertion: unpack(one.insertion, Float32Array),
    deletion: unpack(one.deletion, Float32Array),
  }));
  const covered = new Float64Array(data.regions);
  for (const label of labels) covered[label] += 1 / labels.length;
  finding.covered = covered;
  return { ...finding, ...readSearch(data) };
}

// The part that changes while a search runs.
function readSearch(data) {
  const order = data.order;
  const rank = new Map(order.map((region, i) => [region, i + 1]));
  return {
    order, rank, reliance: data.reliance, auc: data.auc,
    value: unpack(data.value, Float32Array),
    area: unpack(data.area, Float32Array),
    insertion: unpack(data.insertion, Float32Array),
    deletion: unpack(data.deletion, Float32Array),
  };
}

const targets = (finding) => finding.reliance.length;
const everyTarget = (finding) => [...finding.reliance.keys()];

// Mean over some targets of each row of a (rows, targets) array.
function meanCurve(values, count, chosen) {
  const means = new Float64Array(values.length / count);
  for (let row = 0; row < means.length; row++)
    for (const target of chosen) means[row] += values[row * count + target] / chosen.length;
  return means;
}

// What each step of the order brought some targets: insight and necessity together.
function gainsAlong(finding, chosen) {
  const [insight, necessity] = finding.weights;
  const shown = meanCurve(finding.insertion, targets(finding), chosen);
  const hidden = meanCurve(finding.deletion, targets(finding), chosen);
  return finding.order.map((_, i) =>
    insight * (shown[i + 1] - shown[i]) + necessity * (hidden[i] - hidden[i + 1]));
}

// The value of each region for a map, -1 to 1: of all targets as the method gave it, of some
// their own gains, the largest of them 1.
function mapOf(finding, chosen) {
  if (chosen === null) return Float64Array.from(finding.value);
  const gains = gainsAlong(finding, chosen);
  const most = Math.max(...gains.map(Math.abs), 1e-6);
  const values = new Float64Array(finding.regions);
  finding.order.forEach((region, i) => { values[region] = gains[i] / most; });
  return values;
}

// Regions by their value for some targets, the first the most important.
function leading(finding, chosen, count) {
  if (chosen === null) return finding.order.slice(0, count);
  const values = mapOf(finding, chosen);
  return [...finding.order].sort((a, b) => values[b] - values[a])
    .slice(0, count).filter((region) => values[region] > 0.05);
}

// Targets that a region raises, the strongest first, with how far.
function carriedBy(finding, region) {
  const step = finding.order.indexOf(region), count = targets(finding);
  if (step < 0) return [];
  const [insight, necessity] = finding.weights;
  const { insertion, deletion } = finding;
  return everyTarget(finding)
    .map((target) => {
      const before = step * count + target, after = before + count;
      return [target, insight * (insertion[after] - insertion[before])
        + necessity * (deletion[before] - deletion[after])];
    })
    .filter(([, gain]) => gain > 0.02)
    .sort((a, b) => b[1] - a[1]);
}

// Probability of a target when the first `step` regions are all there is, or are gone.
const chance = (finding, mode, step, target) =>
  (mode === "without" ? finding.deletion : finding.insertion)[step * targets(finding) + target];

// The first step at which nine tenths of a rise from the blank to the whole picture are there.
function sufficient(shown, full) {
  const goal = shown[0] + 0.9 * (full - shown[0]);
  const step = shown.findIndex((value) => value >= goal - 1e-9);
  return step < 0 ? shown.length - 1 : step;
}
