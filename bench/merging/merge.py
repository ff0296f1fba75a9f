"""Carrying out a merge: stages first, each at once, then rows, so that a merge that is killed leaves a sound store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.executors.product import stored
from bench.executors.rows import same_result
from bench.keys import canonical
from bench.merging.decisions import Conflict, Copy, Decision, Kind, choice_of, decide
from bench.merging.findings import Comparison, comparisons, sentence
from bench.merging.sources import Source, read_all
from bench.plan import StageKind
from bench.schema import Row as StoredRow
from bench.store import STAGE, Store, listed

SIGNATURE = "bench merge"
"""What the lock of a stage says while it is copied."""


@dataclass(frozen=True)
class Merge:
    """Several stores, and what one store is to take from each of them.

    Attributes:
        sources: the stores, those of which copies are taken first where they are the same coming first.
        decision: what is taken from where.
        out: the folder of the merged store.
    """

    sources: Sequence[Source]
    decision: Decision
    out: Path

    @classmethod
    def planned(cls, paths: Sequence[Path], out: Path, prefer: str | None) -> Merge:
        """What to do; nothing is written.

        Raises:
            BenchError: if a store cannot be read, or the rule is none.
        """
        Store.existing(out)
        sources = read_all(paths, out)
        return cls(sources, decide(sources, choice_of(prefer, sources)), out)

    def compared(self) -> Iterator[tuple[Conflict, Comparison]]:
        """Every conflict, with each version that is not kept."""
        for conflict in self.decision.conflicts:
            for found in comparisons(conflict):
                yield conflict, found

    def carry_out(self) -> Tally:
        """Write what is not there yet.

        Raises:
            BenchError: if a conflict needs a rule, the rule would replace what is in `out`, a product is damaged, or
                another process works on a stage.
            StoreError: if `out` cannot be written.
        """
        self._check_settled()
        self._check_nothing_is_replaced()
        store = Store.open(self.out)
        self._check_nobody_works(store)
        findings = self._findings()
        stages = sum(_take_stage(key, copy, store) for key, copy in self.decision.stages.items())
        for key, texts in findings.items():
            for text in texts:
                store.add_finding(key, text)
        for source in self.sources:
            _take_failures(source, store)
        return Tally(stages, _add_rows([_with_findings(one, findings) for one in self.decision.rows.values()], store))

    def _check_settled(self) -> None:
        if not (unsettled := self.decision.open):
            return
        names = list(dict.fromkeys(f"'{copy.source.name}'" for one in unsettled for copy in one.copies))
        count = f"{len(unsettled)} conflict" + "s" * (len(unsettled) > 1)
        raise BenchError(
            f"{' and '.join(names)} have other numbers under the same keys ({count}, listed above), and nothing was "
            f"written: say whose to keep with --prefer newest, --prefer first, or --prefer DIR for one of them."
        )

    def _check_nothing_is_replaced(self) -> None:
        target = next((source for source in self.sources if source.is_at(self.out)), None)
        for key, copy in self.decision.stages.items():
            if target and key in target.records and target.records[key]["bits"] != copy.facts["bits"]:
                raise BenchError(
                    f"'{self.out}' has another version of {copy.facts['label']} ({key}) than '{copy.source.name}', "
                    f"which the rule prefers, and what a store holds is never replaced: name a new folder with --out, "
                    f"and '{self.out}' among the stores to merge."
                )

    def _check_nobody_works(self, store: Store) -> None:
        for key, copy in self.decision.stages.items():
            if not store.has(key) and not store.is_free(key):
                raise _at_work(copy, store)

    def _findings(self) -> dict[str, list[str]]:
        """What a reader of the merged store must know, by the key of a stage: the new, and that of its copies."""
        found: dict[str, list[str]] = {}
        for key, copy in self.decision.stages.items():
            same = [one for one in self.sources if one.records.get(key, {}).get("bits") == copy.facts["bits"]]
            found[key] = [text for one in same for text in one.store.findings(key)]
        for conflict, comparison in self.compared():
            if conflict.kind is Kind.STAGE and comparison.is_finding:
                found[conflict.key].append(sentence(conflict, comparison))
        return {key: list(dict.fromkeys(texts)) for key, texts in found.items() if texts}


@dataclass(frozen=True)
class Tally:
    """What a merge wrote: stages and rows that were not there."""

    stages: int
    rows: int


def _take_stage(key: str, copy: Copy, store: Store) -> bool:
    """Copy a stage's record and product, once its content is found to be what was stored; whether it was missing."""
    if store.has(key):
        return False
    source = copy.source.store
    stored(source, key, StageKind(copy.facts["kind"]))
    files = {path.name: path.read_bytes() for path in listed(source.stage(key)) if path.name != STAGE}
    with store.lock(key, SIGNATURE) as free:
        if not free:
            raise _at_work(copy, store)
        store.put(key, copy.facts, files)
    return True


def _at_work(copy: Copy, store: Store) -> BenchError:
    return BenchError(
        f"another process works on {copy.facts['label']} in '{store.root}': wait until it has ended (`bench status`), "
        f"then run the command again."
    )


def _with_findings(copy: Copy, findings: Mapping[str, Sequence[str]]) -> StoredRow:
    """A row, with what was found of the stages that it rests on among its warnings."""
    row = copy.facts
    texts = [text for key in sorted(copy.source.rests_on(row)) for text in findings.get(key, ())]
    return StoredRow(**{**row, "warnings": canonical(list(dict.fromkeys([*json.loads(row["warnings"]), *texts])))})


def _add_rows(rows: Sequence[StoredRow], store: Store) -> int:
    """Append the rows that the store does not have as they are; how many."""
    known = store.latest_rows()
    new = [row for row in rows if not same_result(row.as_dict(), known.get(row.cell, {}))]
    for row in new:
        store.add_row(row)
    return len(new)


def _take_failures(source: Source, store: Store) -> None:
    """Why stages failed that nobody has finished, with their tracebacks."""
    for key, failure in source.store.failures().items():
        if store.has(key) or store.failure(key):
            continue
        log = source.store.log(key)
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        about = {name: value for name, value in failure.items() if name not in ("error", "attempts")}
        store.put_failure(key, str(failure.get("error", "")), text, about)
