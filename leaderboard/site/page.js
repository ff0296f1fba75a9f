// Draws the boards. The data (leaderboard/site/page.py: as_data) is
//   { about, datasets, flags, metrics: [[name, heading, meaning]], boards: [{ ..., entries }], texts }
// with texts by their number, and an entry's scores, in the order of the metrics, as
//   [mean, spread, n, failed seeds, mark, numbers in the order of the entry's seeds] or null.
// Every text is set as text, never as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRICS = DATA.metrics.map(([name, heading, meaning], place) => ({ name, heading, meaning, place }));
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
  ok: "no gate found anything", warn: "a number may mislead", fail: "not to be believed: never ranked",
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
const scoreOf = (entry, name) => entry.scores[METRICS.findIndex((metric) => metric.name === name)];

// Filters and order

function show(change) {
  state = { ...state, ...change };
  history.replaceState(null, "", hashOf(state));
  draw();
}

function isWanted(entry) {
  const { board } = entry;
  const chosen = [["dataset", board.dataset], ["protocol", board.protocol], ["schedule", board.schedule], ["kind", entry.kind]];
  return (
    chosen.every(([name, value]) => !state[name] || state[name] === value) &&
    (!state.external || EXTERNAL[state.external]?.(entry)) &&
    `${entry.label} ${entry.origin ?? ""}`.toLowerCase().includes(state.text.toLowerCase())
  );
}

/** What a column sorts by; null comes last whichever way round. */
function sortValue(entry, column) {
  if (column === "rank") return entry.rank ? -entry.rank : null;
  if (column === "label") return entry.label;
  if (column === "seeds") return seedCount(entry);
  return scoreOf(entry, column)?.[0] ?? null;
}

function compareBy(column, turned) {
  const upward = (column === "label") !== turned;
  return (a, b) => {
    const [x, y] = [sortValue(a, column), sortValue(b, column)];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
    return upward ? order : -order;
  };
}

/** The boards that have a wanted entry, with those entries in the order asked for. */
function shownBoards() {
  const turned = state.sort.startsWith("-");
  const order = compareBy(turned ? state.sort.slice(1) : state.sort, turned);
  return DATA.boards
    .map((board) => [board, board.entries.map((entry) => ENTRIES.get(entry.id)).filter(isWanted).sort(order)])
    .filter(([, entries]) => entries.length);
}

const seedCount = (entry) => Math.max(0, ...entry.scores.map((score) => score?.[2] ?? 0));
const failedCount = (entry) => Math.max(0, ...entry.scores.map((score) => score?.[3] ?? 0));

/** `5`, `4 of 5` where one failed, and a dash where it is not known. */
function seedsText(entry) {
  const [count, failed] = [seedCount(entry), failedCount(entry)];
  return failed ? `${count} of ${count + failed}` : count ? String(count) : "–";
}

// Boards

function draw() {
  const shown = shownBoards();
  const metrics = METRICS.filter(({ place }) => shown.some(([, entries]) => entries.some((entry) => entry.scores[place])));
  const open = document.activeElement?.id;
  byId("board").replaceChildren(shown.length ? tableOf(shown, metrics) : make("p", { class: "empty" }, "No entry fits these filters."));
  byId("count").textContent = countText(shown);
  drawControls();
  drawComparison();
  if (open) byId(open)?.focus({ preventScroll: true });
}

function countText(shown) {
  const count = shown.reduce((sum, [, entries]) => sum + entries.length, 0);
  return `${count} of ${ENTRIES.size} entries on ${shown.length} ${shown.length === 1 ? "board" : "boards"}`;
}

function tableOf(shown, metrics) {
  const columns = 5 + metrics.length;
  return make(
    "table", {},
    make("thead", {}, headOf(metrics)),
    shown.map(([board, entries]) => make("tbody", {}, headingOf(board, columns), entries.map((entry) => rowsOf(entry, metrics, columns)))),
  );
}

function headOf(metrics) {
  const sortable = (column, words, title = "", place = "number") => {
    const sort = { [column]: "descending", [`-${column}`]: "ascending" }[state.sort] ?? "none";
    const click = () => show(sortedBy(state, column));
    return make("th", { scope: "col", class: place, "aria-sort": sort }, make("button", { id: `sort-${column}`, type: "button", title, onclick: click }, words));
  };
  return make(
    "tr", {},
    sortable("rank", "Rank", "by AA, within a board"),
    sortable("label", "Method", "", ""),
    metrics.map(({ name, heading, meaning }) => sortable(name, heading, `accuracy in % ${meaning}`)),
    sortable("seeds", "Seeds", "pre-training seeds with a number"),
    make("th", { scope: "col" }, "Gates"),
    make("th", { scope: "col" }, "Compare"),
  );
}

function headingOf(board, columns) {
  const name = make("span", { class: "name" }, `${datasetName(board.dataset)} · ${board.protocol}`);
  const setting = board.claimed ? board.setting : `schedule ${board.schedule} · ${board.setting}`;
  const notes = make("details", {}, make("summary", {}, "Notes"), listOf(board.notes.map(text)));
  return make("tr", { class: "heading" }, make("th", { colspan: columns, scope: "rowgroup" }, name, make("span", { class: "setting" }, setting), notes));
}

const listOf = (sentences) => make("ul", {}, sentences.map((sentence) => make("li", {}, sentence)));

function rowsOf(entry, metrics, columns) {
  const opened = state.row === entry.id;
  const row = make(
    "tr", { id: `row-${entry.id}`, class: "entry", "data-kind": entry.kind, "data-opened": opened, "data-compared": comparedIds(state).includes(entry.id) },
    make("td", { class: "rank number", "data-label": "Rank" }, entry.rank ? String(entry.rank) : "–"),
    make("th", { scope: "row" }, nameOf(entry, opened), badgesOf(entry)),
    metrics.map((metric) => numberOf(entry, metric)),
    make("td", { class: "number", "data-label": "Seeds" }, seedsText(entry)),
    make("td", { "data-label": "Gates" }, entry.kind === "claimed" ? "–" : badge(`gate-${entry.verdict ?? "none"}`, entry.verdict ?? "none", GATES[entry.verdict ?? "none"])),
    make("td", { "data-label": "Compare" }, comparerOf(entry)),
  );
  return opened ? [row, make("tr", { class: "details" }, make("td", { colspan: columns }, detailsOf(entry)))] : [row];
}

function nameOf(entry, opened) {
  const toggle = (event) => {
    event.preventDefault();
    show({ row: opened ? "" : entry.id });
  };
  const link = { id: `open-${entry.id}`, href: hashOf({ ...DEFAULTS, row: entry.id }), "aria-expanded": String(opened), onclick: toggle };
  const parts = entry.label.split(/(?<=[,[])/).flatMap((part) => [make("wbr"), part]);
  return make("a", link, parts.slice(1));
}

function badgesOf(entry) {
  const flags = entry.flags.map((flag) => badge("flag", flag, DATA.flags[flag]));
  const origin = entry.origin ? make("span", { class: "origin" }, entry.origin) : null;
  return make("div", { class: "badges" }, badge(`kind-${entry.kind}`, entry.kind, KINDS[entry.kind]), flags, origin);
}

function numberOf(entry, { name, place, heading }) {
  const about = { class: "number", "data-label": heading, "data-metric": name };
  const cell = (content, more = {}) => make("td", { ...about, ...more }, content);
  const score = entry.scores[place];
  if (!score) return cell("–", { "data-absent": true });
  const [value, spread, , , mark] = score;
  if (value === null) return cell("failed");
  return cell([make("span", { class: `mark-${mark}` }, points(value)), make("span", { class: "spread" }, spread === null ? "" : `±${points(spread)}`)]);
}

function comparerOf(entry) {
  if (entry.kind === "claimed") return "–";
  const checked = comparedIds(state).includes(entry.id);
  const change = () => show(withCompared(state, entry.id));
  const box = make("input", { id: `compare-${entry.id}`, type: "checkbox", "aria-label": `Compare ${entry.label}`, onchange: change });
  box.checked = checked;
  return box;
}

// One entry

function detailsOf(entry) {
  const link = make("a", { href: hashOf({ ...DEFAULTS, row: entry.id }) }, "Permalink");
  const section = (heading, content) => (content ? make("section", {}, make("h3", {}, heading), content) : null);
  const sentences = (numbers) => (numbers?.length ? listOf(numbers.map(text)) : null);
  return [
    section("Numbers by seed", seedTable(entry)),
    section("Published beside it", sentences(entry.published)),
    section("What to know", sentences(entry.notes)),
    section("Gates that found nothing", entry.passed ? make("div", { class: "badges" }, entry.passed.map((name) => badge("gate-ok", text(name)))) : null),
    section(entry.passed ? "Other gates" : "Gates", gateTable(entry)),
    section("Provenance", make("dl", {}, (entry.provenance ?? []).map(([name, fact]) => [make("dt", {}, text(name)), make("dd", {}, text(fact))]))),
    make("p", { class: "links" }, link),
  ].filter(Boolean);
}

function seedTable(entry) {
  if (!entry.seeds) return null;
  const metrics = METRICS.filter(({ place }) => entry.scores[place]);
  const head = make("tr", {}, make("th", { scope: "col" }, "seed"), metrics.map(({ heading }) => make("th", { scope: "col" }, heading)));
  const line = (seed, index) => {
    const values = metrics.map(({ place }) => entry.scores[place][5][index]);
    return make("tr", {}, make("th", { scope: "row" }, String(seed)), values.map((value) => make("td", {}, value === null ? "–" : points(value))));
  };
  return make("table", { class: "small" }, make("thead", {}, head), make("tbody", {}, entry.seeds.map(line)));
}

function gateTable(entry) {
  if (!entry.gates) return null;
  const line = ([name, verdict, rows, words]) =>
    make("tr", {}, make("th", { scope: "row" }, text(name)), make("td", {}, badge(`gate-${text(verdict)}`, text(verdict))), make("td", {}, String(rows)), make("td", { class: "words" }, text(words)));
  const head = ["gate", "verdict", "rows", ""].map((words) => make("th", { scope: "col" }, words));
  return make("table", { class: "small" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, entry.gates.map(line)));
}

// Two entries

function drawComparison() {
  const chosen = comparedIds(state).map((id) => ENTRIES.get(id)).filter(Boolean);
  const panel = byId("comparison");
  panel.hidden = !chosen.length;
  document.body.classList.toggle("comparing", chosen.length > 0);
  const close = make("button", { id: "close", type: "button", "aria-label": "Close the comparison", onclick: () => show({ compare: "" }) }, "×");
  panel.replaceChildren(close, ...(chosen.length === 2 ? comparisonOf(...chosen) : waiting(chosen[0])));
}

const waiting = (entry) => (entry ? [make("h2", {}, entry.label), make("p", {}, `Choose another entry of the same board to compare ${entry.label} with.`)] : []);

function comparisonOf(a, b) {
  const title = make("h2", {}, a.label, make("span", { class: "against" }, " against "), b.label);
  if (a.board !== b.board) return [title, make("p", {}, "These two are of different boards: their data set, protocol or setting differs, and so no test between them would be one of the methods.")];
  const rows = METRICS.map((metric) => [metric, seriesOf(a, metric), seriesOf(b, metric)]).filter(([, x, y]) => x && y);
  const tests = rows.map(([metric, x, y]) => [metric, pairedT(x, y)]);
  const where = make("p", { class: "setting" }, `${datasetName(a.board.dataset)} · ${a.board.protocol} · schedule ${a.board.schedule} · ${a.board.setting}`);
  return [title, where, testTable(tests), listOf(caveats(a, b, tests))];
}

function seriesOf(entry, { place }) {
  const score = entry.scores[place];
  return score && new Map(entry.seeds.map((seed, index) => [seed, score[5][index]]).filter(([, value]) => value !== null));
}

function testTable(tests) {
  const widest = Math.max(1, ...tests.flatMap(([, test]) => (test ? [Math.abs(test.low), Math.abs(test.high)] : [])));
  const head = ["", "difference", "95 % interval", "p", "t", "effect", "pairs", ""].map((words) => make("th", { scope: "col" }, words));
  const line = ([{ name, heading }, test]) => make("tr", { "data-metric": name }, make("th", { scope: "row" }, heading), testCells(test, widest));
  return make("div", { class: "scroll" }, make("table", { class: "small tests" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, tests.map(line))));
}

function testCells(test, widest) {
  if (!test) return [make("td", { colspan: 7, class: "words" }, "no test: fewer than two seeds in common")];
  const words = [
    signed(test.meanDifference), `${signed(test.low)} to ${signed(test.high)}`, pText(test),
    test.constant ? "–" : `${test.t.toFixed(2)} (df ${test.df})`, test.effect === null ? "–" : test.effect.toFixed(2),
    String(test.n), intervalOf(test, widest),
  ];
  return words.map((content) => make("td", {}, content));
}

const pText = (test) => (test.constant && test.meanDifference ? "–" : test.p < 0.0001 ? "< 0.0001" : test.p.toFixed(4));

/** The interval of the difference as a line, zero in the middle. */
function intervalOf({ low, high, meanDifference }, widest) {
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const x = (value) => 60 + (56 * value) / widest;
  const drawing = svg("svg", { viewBox: "0 0 120 16", width: 120, height: 16, "aria-hidden": "true", class: "interval" });
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
  const few = Math.min(...found.map((test) => test.n));
  return [
    "Paired t-tests by pre-training seed, two-sided; p is raw, not adjusted for how many pairs could be looked at. Not significant is not equal.",
    failed.length ? `A gate failed ${failed.join(" and ")}: those numbers may be no robustness.` : null,
    found.length ? `With ${few} pairs, p < ${ALPHA} needs a mean difference above ${points(criticalT(few - 1) / Math.sqrt(few))} standard deviations of the differences.` : null,
    found.some((test) => test.constant && test.meanDifference) ? "A difference that is the same number in every seed leaves a t-test no variance: no p is given." : null,
    `Image by image, with equality and power: bench compare ${quoted(a.label)} ${quoted(b.label)}`,
  ].filter(Boolean);
}

/** As a shell takes it. */
const quoted = (label) => (/^[\w.\-/@]+$/.test(label) ? label : `'${label.replaceAll("'", "'\\''")}'`);

// Controls

function drawControls() {
  for (const name of ["text", "dataset", "protocol", "schedule", "external", "kind"]) {
    if (byId(name).value !== state[name]) byId(name).value = state[name];
  }
  byId("sort").value = state.sort;
}

function fill(name, options, words = (value) => value) {
  const values = [...new Set(options)];
  byId(name).replaceChildren(make("option", { value: "" }, "all"), ...values.map((value) => make("option", { value }, words(value))));
  byId(name).addEventListener("change", () => show({ [name]: byId(name).value }));
}

function setUp() {
  fill("dataset", DATA.boards.map((board) => board.dataset), datasetName);
  fill("protocol", DATA.boards.map((board) => board.protocol));
  fill("schedule", DATA.boards.map((board) => board.schedule));
  fill("external", ["none", "used"]);
  fill("kind", Object.keys(KINDS));
  setUpSort();
  byId("text").addEventListener("input", () => show({ text: byId("text").value }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => show(DEFAULTS));
  byId("csv").addEventListener("click", download);
  addEventListener("hashchange", () => follow());
  addEventListener("keydown", onKey);
  setUpTheme();
  setUpWords();
  follow();
}

/** The columns' buttons as a list, for narrow screens. */
function setUpSort() {
  const columns = [["rank", "Rank"], ["label", "Method"], ...METRICS.map(({ name, heading }) => [name, heading]), ["seeds", "Seeds"]];
  const both = columns.flatMap(([name, words]) => [[name, words], [`-${name}`, `${words}, reversed`]]);
  byId("sort").replaceChildren(...both.map(([value, words]) => make("option", { value }, words)));
  byId("sort").addEventListener("change", () => show({ sort: byId("sort").value }));
}

function setUpWords() {
  const { rows, newest, version } = DATA.about;
  const claimed = [...ENTRIES.values()].filter((entry) => entry.kind === "claimed").length;
  byId("about").textContent = `${ENTRIES.size - claimed} measured entries from ${rows} result rows, ${claimed} published ones · newest row ${newest.slice(0, 10)} · acl-bench ${version}`;
  const terms = [
    ...Object.entries(KINDS).map(([kind, meaning]) => [badge(`kind-${kind}`, kind), meaning]),
    ...Object.entries(GATES).map(([verdict, meaning]) => [badge(`gate-${verdict}`, verdict), `gates: ${meaning}`]),
    ...METRICS.map(({ heading, meaning }) => [heading, `accuracy ${meaning}`]),
  ];
  byId("legend").append(...terms.map(([term, meaning]) => make("div", {}, make("dt", {}, term), make("dd", {}, meaning))));
}

/** Show what the address says, and go to the row that it names. */
function follow() {
  state = stateOf(location.hash);
  draw();
  if (state.row) byId(`row-${state.row}`)?.scrollIntoView({ block: "center" });
}

function onKey(event) {
  const typing = event.target.matches?.("input[type=search], select");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("text").focus();
  } else if (event.key === "Escape" && state.compare) show({ compare: "" });
}

function setUpTheme() {
  const button = byId("theme");
  const apply = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    button.textContent = THEMES[theme];
  };
  apply("");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    apply(names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length]);
  });
}

// CSV

const csvField = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

/** What is shown, in the order in which it is shown. */
function csvText() {
  const head = ["rank", "numbers", "method", "origin", "data set", "protocol", "schedule", "setting", "external data", "gates", "flags"];
  const measures = METRICS.flatMap(({ name }) => [name, `${name} sd`, `${name} seeds`, `${name} by seed`]);
  const lines = shownBoards().flatMap(([, entries]) => entries.map(csvLine));
  return [[...head, ...measures, "link"], ...lines].map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

function csvLine(entry) {
  const { board } = entry;
  const bySeed = (score) => (entry.seeds ?? []).map((seed, index) => `${seed}:${score[5][index] ?? ""}`).join(" ");
  const numbers = entry.scores.flatMap((score) => (score ? [score[0] ?? "", score[1] ?? "", score[2], bySeed(score)] : ["", "", "", ""]));
  const facts = [entry.rank ?? "", entry.kind, entry.label, entry.origin ?? "", board.dataset, board.protocol, board.schedule, board.setting];
  return [...facts, entry.external ?? "", entry.verdict ?? "", entry.flags.join("; "), ...numbers, hashOf({ ...DEFAULTS, row: entry.id })];
}

function download() {
  const address = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
  make("a", { href: address, download: "leaderboard.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

setUp();
