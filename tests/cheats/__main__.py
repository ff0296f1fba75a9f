"""The cheats by the gates that catch them, as a Markdown table: `python tests/cheats [--gates G2,O5]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from survey import (
    CAUGHT,
    CAUGHT_BY_AUDIT,
    CHECKED,
    HONEST,
    ONE_SEED,
    REFUSED,
    TAMPERING,
    Sight,
    audited,
    broken_promise,
    run,
    sights,
    sweep_of,
    twins,
)

from bench.attacks import evaluate
from bench.gates.table import chosen as chosen_gates
from bench.gates.verdicts import Verdict
from bench.schema import Status
from bench.store import Store

Table = Iterator[tuple[str, ...]]
HEADER = ("plugin", "SA", "PGD-20", "AA", "meant for it", "fails", "warns")
UNSEEN = (
    "`file-order` gains nothing, `positions` is refused, `stale` is found by `--rerun`, a stage of another model under "
    "this one's key when it is read: see tests/cheats/test_cheats.py."
)


def surveyed(out: Path, protocol: str, methods: Sequence[str], gates: Sequence[str]) -> dict[str, Sight]:
    """All that can be run together, and then the one that would spoil the others, each with its gates."""
    together = dict.fromkeys([HONEST, *methods, *CAUGHT, *REFUSED, *CAUGHT_BY_AUDIT])
    del together[TAMPERING]
    store, found = Store.open(out), dict[str, Sight]()
    for names in (together, [TAMPERING]):
        with patch.object(evaluate, "ascend_in", evaluate.ascend_in):
            for name, sight in sights(run(sweep_of(names, out, protocol)), store).items():
                found[name] = with_audit(store, sight, gates)
    return found


def with_audit(store: Store, sight: Sight, gates: Sequence[str]) -> Sight:
    """With what `bench audit` says, where there is something to audit."""
    if sight.row["status"] != Status.OK:
        return sight
    more = {result.gate: result for result in audited(store, sight.row, tuple(gates))}
    return replace(sight, results={**sight.results, **more})


def table(found: Mapping[str, Sight], out: Path) -> Table:
    """A row per plugin."""
    meant = {**CAUGHT, **CAUGHT_BY_AUDIT}
    for name, sight in found.items():
        figures = (shown(sight.row.get(column)) for column in ("sa", "ra_pgd20", "aa"))
        refused = REFUSED.get(name, "?") in str(sight.row["error"])
        wanted = f"refused: {REFUSED[name]}" if refused else meant.get(name, "")
        told = (", ".join(sorted(sight.those(verdict))) for verdict in (Verdict.FAIL, Verdict.WARN))
        yield f"`{name}`", *figures, wanted, *told
    for name, check in CHECKED.items():
        yield f"`{name}`", "", "", "", f"`bench check`: {check}", check if broken_promise(name) else "", ""
    yield f"`{ONE_SEED}`", "", "", "", "C7 of a campaign", "C7" if twins(out).number else "", ""


def shown(value: Any) -> str:
    """An accuracy, if there is one."""
    return "" if value is None else f"{value:.1f}"


def markdown(rows: Table) -> Iterator[str]:
    """Line by line."""
    for row in (HEADER, (":--", *["--:"] * 3, *[":--"] * 3), *rows):
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", default="slf-1", help="by which they are scored")
    parser.add_argument("--methods", default="", help="honest ones of this project to go with them, comma-separated")
    parser.add_argument("--gates", default="", help="those of `bench audit`, too, comma-separated, or `all`")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        methods = [name for name in asked.methods.split(",") if name]
        gates = chosen_gates(None if asked.gates == "all" else asked.gates) if asked.gates else ()
        found = surveyed(Path(folder) / "runs", asked.protocol, methods, gates)
        print("\n".join([*markdown(table(found, Path(folder) / "seeds")), "", UNSEEN]))


if __name__ == "__main__":
    main()
