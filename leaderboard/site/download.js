// What is shown, as CSV.

const csvField = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

/** What is shown, in the order in which it is shown. */
function csvText() {
  const head = [
    "rank",
    "numbers",
    "method",
    "origin",
    "data set",
    "protocol",
    "schedule",
    "setting",
    "external data",
    "gates",
    "flags",
  ];
  const measures = METRICS.flatMap(({ name }) => [name, `${name} sd`, `${name} seeds`, `${name} by seed`]);
  const lines = shownBoards().flatMap(([, entries]) => entries.map(csvLine));
  return [[...head, ...measures, "link"], ...lines].map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

function csvLine(entry) {
  const { board } = entry;
  const bySeed = (score) => entry.seeds.map((seed, index) => `${seed}:${score.bySeed[index] ?? ""}`).join(" ");
  const numbers = METRICS.map(({ name }) => entry.scores[name]).flatMap((score) =>
    score ? [score.mean ?? "", score.spread ?? "", score.n, bySeed(score)] : ["", "", "", ""],
  );
  const facts = [
    entry.rank ?? "",
    entry.kind,
    entry.label,
    entry.origin ?? "",
    board.dataset,
    board.protocol,
    board.schedule,
    board.setting,
  ];
  return [
    ...facts,
    entry.external ?? "",
    entry.verdict ?? "",
    entry.flags.join("; "),
    ...numbers,
    hashOf({ ...DEFAULTS, row: entry.id }),
  ];
}

function download() {
  const address = URL.createObjectURL(new Blob([csvText()], { type: "text/csv" }));
  make("a", { href: address, download: "leaderboard.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
