// The data and what pages are made of. The data (leaderboard/site/page.py: as_data) is
//   { about, datasets, flags, metrics: [[name, heading, meaning, usual]],
//     papers: { method: [authors and year, address, venue] }, boards: [{ ..., entries }], texts }
// with texts by their number, and an entry's scores, in the order of the metrics, as
//   [mean, spread, n, failed seeds, mark, numbers in the order of the entry's seeds] or null.
// Every text is set as text, never as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = DATA.metrics.map(([name, heading, meaning, usual], place) => ({ name, heading, meaning, usual, place }));
const ENTRIES = new Map(
  DATA.boards.flatMap((board) => board.entries.map((entry) => [entry.id, { flags: [], ...entry, board }])),
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
const scoreOf = (entry, name) => entry.scores[METRICS.findIndex((metric) => metric.name === name)];

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
