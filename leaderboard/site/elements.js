// The data and what pages are made of. The data (leaderboard/site/page.py: as_data) is
//   { about, datasets, flags, metrics: [[name, heading, meaning, usual]],
//     papers: { method: [authors and year, address, venue] }, boards: [{ ..., entries }], texts }
// with texts by their number, provenance as headings and facts by turns, and an entry's scores, by the place of their
// metric, as [mean, spread, n, numbers in the order of the entry's seeds, mark, failed seeds], usual ends left out.
// Every text is set as text, never as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = DATA.metrics.map(([name, heading, meaning, usual]) => ({ name, heading, meaning, usual }));
const ENTRIES = new Map(
  DATA.boards.flatMap((board) => board.entries.map((entry) => [entry.id, entryOf(entry, board)])),
);
const EXTERNAL = { none: (entry) => entry.external === false, used: (entry) => entry.external === true };
const KINDS = {
  retrained: "pre-trained and judged here",
  "re-measured": "weights that others trained, judged here",
  claimed: "published, and never ranked",
};
const GATES = {
  ok: "no gate found anything",
  warn: "a number may mislead",
  fail: "not to be believed: never ranked",
  none: "no gate was measured",
};
const THEMES = { "": "◐ system", light: "◐ light", dark: "◐ dark" };

/** An entry with its board, scores by the names of their metrics, and nothing left out. */
function entryOf(entry, board) {
  const scores = Object.entries(entry.scores ?? {}).map(([place, score]) => [METRICS[place].name, scoreFrom(score)]);
  const unsaid = { method: entry.label, flags: [], seeds: [], provenance: [] };
  return { ...unsaid, ...entry, scores: Object.fromEntries(scores), board };
}

function scoreFrom([mean, spread, n, bySeed = [], mark = "none", failed = 0]) {
  return { mean, spread, n, bySeed, mark, failed };
}

let state = stateOf(location.hash);

const byId = (id) => document.getElementById(id);
const text = (number) => DATA.texts[number];

/** An element: attributes, `on...` handlers, and children that are elements or texts; what is null is left out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const badge = (kind, words, title) => make("span", { class: "badge", "data-badge": kind, title }, words);
const points = (value) => value.toFixed(2);
const signed = (value) => (value < 0 ? "−" : "+") + points(Math.abs(value));
const datasetName = (name) => DATA.datasets[name] ?? name;
const boardName = (board) => `${datasetName(board.dataset)} · ${board.protocol}`;
const settingOf = (board) => (board.claimed ? board.setting : `schedule ${board.schedule} · ${board.setting}`);

const listOf = (sentences) =>
  make(
    "ul",
    {},
    sentences.map((sentence) => make("li", {}, sentence)),
  );
const smallLine = (heading, cells, attributes = {}) =>
  make("tr", attributes, make("th", { scope: "row" }, heading), cells);

/** A table inside an entry or the comparison. */
function smallTable(headings, lines) {
  const head = headings.map((words) => make("th", { scope: "col" }, words));
  return make("table", { class: "small" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, lines));
}
