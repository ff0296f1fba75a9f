// What an entry opens into.

function detailsOf(entry) {
  const link = make("a", { href: hashOf({ ...DEFAULTS, row: entry.id }) }, "Permalink");
  const section = (heading, content) => (content ? make("section", {}, make("h3", {}, heading), content) : null);
  const sentences = (numbers) => (numbers?.length ? listOf(numbers.map(text)) : null);
  return [
    section("Numbers by seed", seedTable(entry)),
    section("Paper", entry.origin ? paperOf(entry) : null),
    section("Published beside it", sentences(entry.published)),
    section("What to know", sentences(entry.notes)),
    section(
      "Gates that found nothing",
      entry.passed
        ? make(
            "div",
            { class: "badges" },
            entry.passed.map((name) => badge("gate-ok", text(name))),
          )
        : null,
    ),
    section(entry.passed ? "Other gates" : "Gates", gateTable(entry)),
    section("Provenance", factsOf(entry.provenance)),
    make("p", { class: "links" }, link),
  ].filter(Boolean);
}

/** Headings and facts by turns, as a list. */
function factsOf(provenance) {
  const terms = provenance.map((number, place) => make(place % 2 ? "dd" : "dt", {}, text(number)));
  return make("dl", {}, terms);
}

function seedTable(entry) {
  if (!entry.seeds.length) return null;
  const metrics = METRICS.filter(({ name }) => entry.scores[name]);
  const line = (seed, index) => {
    const values = metrics.map(({ name }) => entry.scores[name].bySeed[index] ?? null);
    return smallLine(
      String(seed),
      values.map((value) => make("td", {}, value === null ? "–" : points(value))),
    );
  };
  const table = smallTable(["seed", ...metrics.map(({ heading }) => heading)], entry.seeds.map(line));
  return make("div", { class: "scroll" }, table);
}

function gateTable(entry) {
  if (!entry.gates) return null;
  const line = ([name, verdict, rows, words]) => {
    const found = make("td", {}, badge(`gate-${text(verdict)}`, text(verdict)));
    return smallLine(text(name), [found, make("td", {}, String(rows)), make("td", { class: "words" }, text(words))]);
  };
  return smallTable(["gate", "verdict", "rows", ""], entry.gates.map(line));
}
