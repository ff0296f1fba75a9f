"use strict";
// The paired t-test by seed of leaderboard/statistics.py, over again: that one is the reference, and the tests hold
// this one against it.

const ALPHA = 0.05;
const SAME = 1e-9; // Relative: differences of accuracies that differ by rounding alone are one number.

/** Two-sided p of Student's t with a whole number of degrees of freedom; Abramowitz and Stegun, 26.7.3 and 26.7.4. */
function twoSidedP(t, df) {
  const angle = Math.atan(Math.abs(t) / Math.sqrt(df));
  const sine = Math.sin(angle);
  const cosine = Math.cos(angle);
  const odd = df % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = df === 1 ? 0 : term;
  for (let k = odd ? 3 : 2; k < df; k += 2) {
    term *= (cosine * cosine * (k - 1)) / k;
    sum += term;
  }
  const inside = odd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
  return Math.min(1, Math.max(0, 1 - inside));
}

/** The t that a two-sided test must exceed, by bisection. */
function criticalT(df, alpha = ALPHA) {
  let low = 0;
  let high = 1;
  while (twoSidedP(high, df) > alpha) high *= 2;
  for (let step = 0; step < 100; step += 1) {
    const middle = (low + high) / 2;
    if (twoSidedP(middle, df) > alpha) low = middle;
    else high = middle;
  }
  return high;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function sampleSd(values) {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

/** Seeds that two maps from seed to per cent share, in order. */
const sharedSeeds = (a, b) => [...a.keys()].filter((seed) => b.has(seed)).sort((x, y) => x - y);

/**
 * The paired t-test of a - b on the seeds that two maps from seed to per cent share; null with fewer than two.
 * Where every difference is the same number there is no variance to test with: `constant`, and p is no evidence.
 */
function pairedT(a, b) {
  const seeds = sharedSeeds(a, b);
  if (seeds.length < 2) return null;
  const difference = seeds.map((seed) => a.get(seed) - b.get(seed));
  const scale = Math.max(1, ...seeds.map((seed) => Math.abs(a.get(seed))));
  const centre = mean(difference);
  const n = seeds.length;
  const df = n - 1;
  if (Math.max(...difference) - Math.min(...difference) <= SAME * scale) return constantDifference(n, centre);
  const sd = sampleSd(difference);
  const t = centre / (sd / Math.sqrt(n));
  const half = (criticalT(df) * sd) / Math.sqrt(n);
  const interval = { low: centre - half, high: centre + half };
  return {
    n,
    meanDifference: centre,
    ...interval,
    t,
    df,
    p: twoSidedP(t, df),
    sd,
    effect: centre / sd,
    constant: false,
  };
}

function constantDifference(n, centre) {
  const equal = Math.abs(centre) <= SAME;
  const value = equal ? 0 : centre;
  const t = equal ? 0 : Math.sign(value) * Infinity;
  const interval = { low: value, high: value };
  return { n, meanDifference: value, ...interval, t, df: n - 1, p: equal ? 1 : 0, sd: 0, effect: null, constant: true };
}
