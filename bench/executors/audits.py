"""Auditing a finished cell: each dear gate is a stage of its own, and the cell's row says what it found."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.cells import check_ended_well, check_kept, data_of, method_of_row, name_of, outcome_keys
from bench.data.loading import data_facts
from bench.errors import BenchError, Interrupted, StoreError
from bench.executors.attempt import attempt
from bench.executors.events import Failure, Listener, StageState
from bench.executors.rows import gate_columns, gate_records
from bench.executors.run import available_device, job_of
from bench.executors.stop import Stop
from bench.executors.work import SURROGATE, Job, Site
from bench.gates.table import GATES, Need
from bench.gates.verdicts import Result
from bench.plan import MethodRef, Stage, StageKind, Task
from bench.planning import audit_recipe, outcomes_of, plan_of, stage_source
from bench.protocols.recipes import protocol_of
from bench.provenance import commit
from bench.schema import Row, Status
from bench.store import Store
from bench.sweep import Sweep

SURROGATES = ("pgd-at", "simclr")
"""A network trained on adversarial images and labels, and one that is not defended: whose images are tried (G2)."""
SURROGATE_PROTOCOL = "slf-1"

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Auditor:
    """Sends a cell through gates.

    Attributes:
        store: where it is kept.
        row: its newest row.
        site: where the gates are carried out.
        listen: called with progress.
        stop: whether to end early.
    """

    store: Store
    row: Columns
    site: Site
    listen: Listener
    stop: Stop

    def results(self, gates: tuple[str, ...]) -> Iterator[Result]:
        """The verdicts of some gates, each as soon as it is known and stored; what was measured before is not again.

        Raises:
            BenchError: if the data are other than when the cell was scored, or a stage of the cell was removed.
            Interrupted: after SIGTERM or Ctrl-C; the gates that are done are kept.
        """
        source = stage_source(StageKind.AUDIT)
        known = {
            gate: record
            for record in gate_records(self.store, self.row).values()
            if record["recipe"]["source"] == source
            for gate in record["result"]["gates"]
        }
        for gate in gates:
            record = known.get(gate) or self._measured(gate)
            yield Result.of(gate, record["result"]["gates"][gate])

    def _measured(self, gate: str) -> Columns:
        """The record of a gate that the row does not know yet."""
        job = self._job(gate)
        if not self.store.has(job.stage.key):
            self._carry_out(job)
        record = self.store.record(job.stage.key)
        self._note(job.stage.key, record)
        return record

    def _carry_out(self, job: Job) -> None:
        message = attempt(job, self.site, self.listen, self.stop)
        if isinstance(message, Failure):
            raise (
                StoreError(message.error)
                if message.fatal
                else BenchError(f"{job.stage.label}, which the audit needs, failed: {message.error}")
            )
        if message.state is StageState.ELSEWHERE:
            raise BenchError(f"another process works on {job.stage.label}: wait for it, then run the command again.")
        if message.state is StageState.WAITING:
            raise Interrupted(self.stop.signal or 0)

    def _note(self, key: str, record: Columns) -> None:
        """The cell's row with what one more audit found, if it does not say so yet."""
        row = self.store.latest_rows()[self.row["cell"]]
        columns = gate_columns({**gate_records(self.store, row), key: record})
        if any(row.get(name) != value for name, value in columns.items()):
            stamp = {"created": datetime.now(UTC).isoformat(), "commit": commit(), "harness_version": __version__}
            self.store.add_row(Row(**{**row, **columns, **stamp}))

    # The stage of a gate.

    def _job(self, gate: str) -> Job:
        row, method = self.row, method_of_row(self.row)
        protocol = protocol_of(row["protocol"])
        surrogates = self._surrogates() if GATES[gate].needs is Need.SURROGATES else {}
        recipe = {
            **audit_recipe((gate,), protocol, row["eps"], row["seed_attack"], row["data_fingerprint"]),
            "source": stage_source(StageKind.AUDIT),
            "threads": self.site.threads,
        }
        task = Task(method, data_of(row), row["seed_attack"], protocol.name, gates=(gate,))
        own = {"encoder": row["pretrain_key"], "head": row["head_key"]}
        upstream = {**own, **outcomes_of(protocol, outcome_keys(row)), **_upstream(surrogates)}
        methods = {row["pretrain_key"]: method, **{one.pretrain: one.method for one in surrogates.values()}}
        return Job(Stage(StageKind.AUDIT, f"{name_of(row)} gate {gate}", task, recipe, upstream), methods)

    def _surrogates(self) -> dict[str, Surrogate]:
        """By method: one of the store, or else one that is trained now."""
        return {name: self._stored(name) or self._trained(name) for name in SURROGATES}

    def _stored(self, method: str) -> Surrogate | None:
        same = ("data_fingerprint", "pool_fingerprint", "schedule", "epochs")
        for row in self.store.latest_rows().values():
            alike = all(row[name] == self.row[name] for name in same) and row["label"] == method
            own = row["pretrain_key"] == self.row["pretrain_key"]
            if alike and not own and row["status"] == Status.OK and row["protocol"] == SURROGATE_PROTOCOL:
                return Surrogate(method_of_row(row), row["pretrain_key"], row["head_key"])
        return None

    def _trained(self, method: str) -> Surrogate:
        """Pre-trained with a head, and kept without a row; from another seed where it is the audited method itself."""
        row, site = self.row, self.site
        seed = row["seed_pretrain"] + (method == row["method"])
        sweep = Sweep.of(
            methods=method, datasets=row["dataset"], protocols=SURROGATE_PROTOCOL, seeds=[seed],
            schedule=row["schedule"], epochs=row["epochs"], limit=data_of(row).limit, device=site.device,
            jobs=1, threads=site.threads, out=site.out, data_dir=site.data_dir,
        )  # fmt: skip
        plan = plan_of(sweep)
        (cell,) = plan.cells
        for key in plan.needs(cell.head):
            if not self.store.has(key):
                self._carry_out(job_of(plan, plan.stages[key]))
        return Surrogate(cell.method, cell.pretrain, cell.head)


@dataclass(frozen=True)
class Surrogate:
    """Another classifier of the same data: its method, and the keys of its encoder and head."""

    method: MethodRef
    pretrain: str
    head: str


def _upstream(surrogates: Mapping[str, Surrogate]) -> dict[str, str]:
    return {
        f"{SURROGATE}{name}.{part}": key
        for name, one in surrogates.items()
        for part, key in (("encoder", one.pretrain), ("head", one.head))
    }


def _check(store: Store, row: Columns, data_dir: Path) -> None:
    """Whether there is something to audit.

    Raises:
        BenchError: if the cell failed, a stage of it was removed, or its data have changed.
    """
    check_ended_well(row, "audit")
    check_kept(store, row, (row["pretrain_key"], row["head_key"], *outcome_keys(row).values()))
    facts = data_facts(data_of(row), data_dir, download=False)
    if facts.fingerprint != row["data_fingerprint"]:
        raise BenchError(
            f"cell '{name_of(row)}' was scored on images with fingerprint {row['data_fingerprint']}, and "
            f"'{row['dataset']}' now has {facts.fingerprint}: give the folder that holds those images with --data-dir."
        )


@contextmanager
def auditing(store: Store, row: Columns, data_dir: Path, device: str, listen: Listener) -> Iterator[Auditor]:
    """An auditor of a row's cell, on a device, with as many CPU threads as its head was fitted with.

    Raises:
        BenchError: if there is nothing to audit, or the device is not there.
    """
    _check(store, row, data_dir)
    threads = store.record(row["head_key"])["recipe"]["threads"]
    site, stop = Site(store.root, data_dir, available_device(device), threads), Stop()
    with stop.listening(signal.SIGTERM, signal.SIGINT):
        yield Auditor(store, row, site, listen, stop)
