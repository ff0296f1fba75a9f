// Which entries are shown, in which order, and the table that they stand in.

function show(change) {
  state = { ...state, ...change };
  history.replaceState(null, "", hashOf(state));
  draw();
}

function isWanted(entry) {
  const { board } = entry;
  const chosen = [
    ["dataset", board.dataset],
    ["protocol", board.protocol],
    ["schedule", board.schedule],
    ["kind", entry.kind],
  ];
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
  return entry.scores[column]?.mean ?? null;
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
  const order = compareBy(sortColumn(state), state.sort.startsWith("-"));
  return DATA.boards
    .map((board) => [
      board,
      board.entries
        .map((entry) => ENTRIES.get(entry.id))
        .filter(isWanted)
        .sort(order),
    ])
    .filter(([, entries]) => entries.length);
}

const largest = (entry, count) => Math.max(0, ...Object.values(entry.scores).map((score) => score[count]));
const seedCount = (entry) => largest(entry, "n");

/** `5`, `4 of 5` where one failed, and a dash where it is not known. */
function seedsText(entry) {
  const [count, failed] = [seedCount(entry), largest(entry, "failed")];
  return failed ? `${count} of ${count + failed}` : count ? String(count) : "–";
}

function draw() {
  const shown = shownBoards();
  const metrics = METRICS.filter(
    ({ usual, name }) =>
      (usual || state.columns === ALL || sortColumn(state) === name) &&
      shown.some(([, entries]) => entries.some((entry) => entry.scores[name])),
  );
  const open = document.activeElement?.id;
  byId("board").classList.toggle("wide", metrics.some(({ usual }) => !usual));
  byId("board").replaceChildren(
    shown.length ? tableOf(shown, metrics) : make("p", { class: "empty" }, "No entry fits these filters."),
  );
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
    "table",
    {},
    make("thead", {}, headOf(metrics)),
    shown.map(([board, entries]) =>
      make(
        "tbody",
        {},
        headingOf(board, columns),
        entries.map((entry) => rowsOf(entry, metrics, columns)),
      ),
    ),
  );
}

function headOf(metrics) {
  const sortable = (column, words, title = "", place = "number") => {
    const sort = { [column]: "descending", [`-${column}`]: "ascending" }[state.sort] ?? "none";
    const click = () => show(sortedBy(state, column));
    return make(
      "th",
      { scope: "col", class: place, "aria-sort": sort },
      make("button", { id: `sort-${column}`, type: "button", title, onclick: click }, words),
    );
  };
  return make(
    "tr",
    {},
    sortable("rank", "Rank", "by AA, within a board"),
    sortable("label", "Method", "", ""),
    metrics.map(({ name, heading, meaning }) => sortable(name, heading, `accuracy in % ${meaning}`)),
    sortable("seeds", "Seeds", "pre-training seeds with a number"),
    make("th", { scope: "col" }, "Gates"),
    make("th", { scope: "col" }, "Compare"),
  );
}

function headingOf(board, columns) {
  const name = make("span", { class: "name" }, boardName(board));
  const setting = make("span", { class: "setting" }, settingOf(board));
  const notes = make("details", {}, make("summary", {}, "Notes"), listOf(board.notes.map(text)));
  return make("tr", { class: "heading" }, make("th", { colspan: columns, scope: "rowgroup" }, name, setting, notes));
}

function rowsOf(entry, metrics, columns) {
  const opened = state.row === entry.id;
  const row = make(
    "tr",
    {
      id: `row-${entry.id}`,
      class: "entry",
      "data-kind": entry.kind,
      "data-opened": opened,
      "data-compared": comparedIds(state).includes(entry.id),
    },
    make("td", { class: "rank number", "data-label": "Rank" }, entry.rank ? String(entry.rank) : "–"),
    make("th", { scope: "row" }, nameOf(entry, opened), badgesOf(entry)),
    metrics.map((metric) => numberOf(entry, metric)),
    make("td", { class: "number", "data-label": "Seeds" }, seedsText(entry)),
    make("td", { "data-label": "Gates" }, verdictOf(entry)),
    make("td", { "data-label": "Compare" }, comparerOf(entry)),
  );
  return opened ? [row, make("tr", { class: "details" }, make("td", { colspan: columns }, detailsOf(entry)))] : [row];
}

function verdictOf(entry) {
  const verdict = entry.verdict ?? "none";
  return entry.kind === "claimed" ? "–" : badge(`gate-${verdict}`, verdict, GATES[verdict]);
}

function nameOf(entry, opened) {
  const toggle = (event) => {
    event.preventDefault();
    show({ row: opened ? "" : entry.id });
  };
  const link = {
    id: `open-${entry.id}`,
    href: hashOf({ ...DEFAULTS, row: entry.id }),
    "aria-expanded": String(opened),
    onclick: toggle,
  };
  const parts = entry.label.split(/(?<=[,[])/).flatMap((part) => [make("wbr"), part]);
  return make("a", link, parts.slice(1));
}

function badgesOf(entry) {
  const flags = entry.flags.map((flag) => badge("flag", flag, DATA.flags[flag]));
  const origin = entry.origin ? make("span", { class: "origin" }, entry.origin) : null;
  const kind = badge(`kind-${entry.kind}`, entry.kind, KINDS[entry.kind]);
  return make("div", { class: "badges" }, kind, flags, origin ?? paperOf(entry));
}

function paperOf(entry) {
  const [by, href, venue] = DATA.papers[entry.method] ?? [];
  return href ? make("a", { class: "paper", href, title: venue || null, target: "_blank", rel: "noopener" }, by) : null;
}

function numberOf(entry, { name, heading }) {
  const about = { class: "number", "data-label": heading, "data-metric": name };
  const cell = (content, more = {}) => make("td", { ...about, ...more }, content);
  const score = entry.scores[name];
  const beside = (words) => make("span", { class: "spread" }, words);
  if (!score) return cell(["–", beside("")], { "data-absent": true });
  const { mean, spread, mark } = score;
  if (mean === null) return cell("failed");
  return cell([
    make("span", { class: `mark-${mark}` }, points(mean)),
    beside(spread === null ? "" : `±${points(spread)}`),
  ]);
}

function comparerOf(entry) {
  if (entry.kind === "claimed") return "–";
  const checked = comparedIds(state).includes(entry.id);
  const change = () => show(withCompared(state, entry.id));
  const box = make("input", {
    id: `compare-${entry.id}`,
    type: "checkbox",
    "aria-label": `Compare ${entry.label}`,
    onchange: change,
  });
  box.checked = checked;
  return box;
}
