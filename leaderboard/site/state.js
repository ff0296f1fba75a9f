// What the page shows is in its address, behind the #: so every view can be linked to, and the page keeps nothing.

const ALL = "all"; // Of columns: those of every attack that was met.

const DEFAULTS = {
  text: "",
  dataset: "",
  protocol: "",
  schedule: "",
  external: "",
  kind: "",
  columns: "",
  sort: "rank",
  row: "",
  compare: "",
};

/** The state that an address stands for; unknown names are passed over. */
function stateOf(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, given.get(name) ?? value]));
}

/** The address of a state, what is at its default left out. */
function hashOf(state) {
  const set = Object.entries(DEFAULTS).filter(([name, value]) => state[name] !== value);
  return `#${new URLSearchParams(set.map(([name]) => [name, state[name]]))}`;
}

/** The two entries that are compared, or the one that waits for another. */
const comparedIds = (state) => state.compare.split(",").filter(Boolean);

/** Choose an entry for comparison, or take it back; a third one takes the place of the first. */
function withCompared(state, id) {
  const ids = comparedIds(state);
  const next = ids.includes(id) ? ids.filter((one) => one !== id) : [...ids, id].slice(-2);
  return { ...state, compare: next.join(",") };
}

const sortColumn = (state) => state.sort.replace(/^-/, "");

/** Sort by a column, or turn it round: `aa`, then `-aa`; minus is ascending for numbers, which start at the largest. */
function sortedBy(state, column) {
  return { ...state, sort: state.sort === column ? `-${column}` : column };
}
