// The controls, and the start.

function drawControls() {
  for (const name of ["text", "dataset", "protocol", "schedule", "external", "kind"]) {
    if (byId(name).value !== state[name]) byId(name).value = state[name];
  }
  byId("sort").value = state.sort;
  byId("columns").setAttribute("aria-pressed", String(state.columns === ALL));
}

function fill(name, options, words = (value) => value) {
  const values = [...new Set(options)];
  byId(name).replaceChildren(
    make("option", { value: "" }, "all"),
    ...values.map((value) => make("option", { value }, words(value))),
  );
  byId(name).addEventListener("change", () => show({ [name]: byId(name).value }));
}

function setUp() {
  fill(
    "dataset",
    DATA.boards.map((board) => board.dataset),
    datasetName,
  );
  fill(
    "protocol",
    DATA.boards.map((board) => board.protocol),
  );
  fill(
    "schedule",
    DATA.boards.map((board) => board.schedule),
  );
  fill("external", ["none", "used"]);
  fill("kind", Object.keys(KINDS));
  setUpSort();
  byId("text").addEventListener("input", () => show({ text: byId("text").value }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => show(DEFAULTS));
  byId("csv").addEventListener("click", download);
  byId("columns").addEventListener("click", () => show({ columns: state.columns === ALL ? "" : ALL }));
  byId("columns").hidden = METRICS.every(({ usual }) => usual);
  addEventListener("hashchange", () => follow());
  addEventListener("keydown", onKey);
  setUpTheme();
  setUpWords();
  follow();
}

/** The columns' buttons as a list, for narrow screens. */
function setUpSort() {
  const columns = [
    ["rank", "Rank"],
    ["label", "Method"],
    ...METRICS.map(({ name, heading }) => [name, heading]),
    ["seeds", "Seeds"],
  ];
  const both = columns.flatMap(([name, words]) => [
    [name, words],
    [`-${name}`, `${words}, reversed`],
  ]);
  byId("sort").replaceChildren(...both.map(([value, words]) => make("option", { value }, words)));
  byId("sort").addEventListener("change", () => show({ sort: byId("sort").value }));
}

function setUpWords() {
  const { rows, newest, version } = DATA.about;
  const claimed = [...ENTRIES.values()].filter((entry) => entry.kind === "claimed").length;
  const counts = `${ENTRIES.size - claimed} measured entries from ${rows} result rows, ${claimed} published ones`;
  byId("about").textContent = `${counts} · newest row ${newest.slice(0, 10)} · acl-bench ${version}`;
  const terms = [
    ...Object.entries(KINDS).map(([kind, meaning]) => [badge(`kind-${kind}`, kind), meaning]),
    ...Object.entries(GATES).map(([verdict, meaning]) => [badge(`gate-${verdict}`, verdict), `gates: ${meaning}`]),
    ...Object.entries(DATA.flags).map(([flag, meaning]) => [badge("flag", flag), meaning]),
    ...METRICS.map(({ heading, meaning }) => [heading, `accuracy ${meaning}`]),
  ];
  byId("legend").append(
    ...terms.map(([term, meaning]) => make("div", {}, make("dt", {}, term), make("dd", {}, meaning))),
  );
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

setUp();
