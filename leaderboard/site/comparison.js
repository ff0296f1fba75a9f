// Two entries, compared.

function drawComparison() {
  const chosen = comparedIds(state)
    .map((id) => ENTRIES.get(id))
    .filter(Boolean);
  const panel = byId("comparison");
  panel.hidden = !chosen.length;
  document.body.classList.toggle("comparing", chosen.length > 0);
  const close = make(
    "button",
    { id: "close", type: "button", "aria-label": "Close the comparison", onclick: () => show({ compare: "" }) },
    "×",
  );
  panel.replaceChildren(close, ...(chosen.length === 2 ? comparisonOf(...chosen) : waiting(chosen[0])));
}

function waiting(entry) {
  if (!entry) return [];
  const words = `Choose another entry of the same board to compare ${entry.label} with.`;
  return [make("h2", {}, entry.label), make("p", {}, words)];
}

const OTHER_BOARD =
  "These two are of different boards: their data set, protocol or setting differs, " +
  "and so no test between them would be one of the methods.";
const READING =
  "Paired t-tests by pre-training seed, two-sided; p is raw, not adjusted for how many pairs could be looked at. " +
  "Not significant is not equal.";
const CONSTANT = "A difference that is the same number in every seed leaves a t-test no variance: no p is given.";

function comparisonOf(a, b) {
  const title = make("h2", {}, a.label, make("span", { class: "against" }, " against "), b.label);
  if (a.board !== b.board) return [title, make("p", {}, OTHER_BOARD)];
  const rows = METRICS.map((metric) => [metric, seriesOf(a, metric), seriesOf(b, metric)]).filter(([, x, y]) => x && y);
  const tests = rows.map(([metric, x, y]) => [metric, pairedT(x, y)]);
  const where = make("p", { class: "setting" }, `${boardName(a.board)} · ${settingOf(a.board)}`);
  return [title, where, testTable(tests), listOf(caveats(a, b, tests))];
}

/** Seed to per cent; nothing where the entry has no such score. */
function seriesOf(entry, { name }) {
  const found = entry.scores[name]?.bySeed;
  return found && new Map(entry.seeds.map((seed, index) => [seed, found[index]]).filter(([, value]) => value !== null));
}

function testTable(tests) {
  const widest = Math.max(1, ...tests.flatMap(([, test]) => (test ? [Math.abs(test.low), Math.abs(test.high)] : [])));
  const line = ([{ name, heading }, test]) => smallLine(heading, testCells(test, widest), { "data-metric": name });
  const headings = ["", "difference", "95 % interval", "p", "t", "effect", "pairs", ""];
  return make("div", { class: "scroll" }, smallTable(headings, tests.map(line)));
}

function testCells(test, widest) {
  if (!test) return [make("td", { colspan: 7, class: "words" }, "no test: fewer than two seeds in common")];
  const words = [
    signed(test.meanDifference),
    `${signed(test.low)} to ${signed(test.high)}`,
    pText(test),
    test.constant ? "–" : `${test.t.toFixed(2)} (df ${test.df})`,
    test.effect === null ? "–" : test.effect.toFixed(2),
    String(test.n),
    intervalOf(test, widest),
  ];
  return words.map((content) => make("td", {}, content));
}

function pText({ constant, meanDifference, p }) {
  if (constant && meanDifference) return "–";
  return p < 0.0001 ? "< 0.0001" : p.toFixed(4);
}

/** The interval of the difference as a line, zero in the middle. */
function intervalOf({ low, high, meanDifference }, widest) {
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const x = (value) => 60 + (56 * value) / widest;
  const drawing = svg("svg", {
    viewBox: "0 0 120 16",
    width: 120,
    height: 16,
    "aria-hidden": "true",
    class: "interval",
  });
  drawing.append(
    svg("line", { x1: 60, x2: 60, y1: 1, y2: 15, class: "zero" }),
    svg("line", { x1: x(low), x2: x(high), y1: 8, y2: 8 }),
    svg("circle", { cx: x(meanDifference), cy: 8, r: 3.5 }),
  );
  return drawing;
}

function caveats(a, b, tests) {
  const found = tests.map(([, test]) => test).filter(Boolean);
  const failed = [a, b].filter((entry) => entry.verdict === "fail").map((entry) => entry.label);
  return [
    READING,
    failed.length ? `A gate failed ${failed.join(" and ")}: those numbers may be no robustness.` : null,
    found.length ? powerText(Math.min(...found.map((test) => test.n))) : null,
    found.some((test) => test.constant && test.meanDifference) ? CONSTANT : null,
    `Image by image, with equality and power: bench compare ${quoted(a.label)} ${quoted(b.label)}`,
  ].filter(Boolean);
}

/** What so few seeds can show. */
function powerText(n) {
  const needed = points(criticalT(n - 1) / Math.sqrt(n));
  return `With ${n} pairs, p < ${ALPHA} needs a mean difference above ${needed} standard deviations of the differences.`;
}

/** As a shell takes it. */
const quoted = (label) => (/^[\w.\-/@]+$/.test(label) ? label : `'${label.replaceAll("'", "'\\''")}'`);
