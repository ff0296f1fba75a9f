"""Whether a bundle is one piece: row, stages, keys, hashes, protocol and gates say the same. Scores nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bench.attacks.threats import AttackKind
from bench.bundles.bundle import Bundle
from bench.bundles.container import STAGES
from bench.bundles.submit import facts_of
from bench.cells import name_of, outcome_keys
from bench.data.profiles import profile_of
from bench.errors import BenchError
from bench.executors.product import FILES, sound
from bench.garbage import stages_of
from bench.gates.table import cheap
from bench.gates.verdicts import Result, Verdict, overall
from bench.keys import canonical, recipe_key
from bench.plan import StageKind
from bench.protocols.recipes import protocol_of
from bench.schema import Status
from bench.store import STAGE

Complaints = Iterator[str]
MALFORMED = (
    ArithmeticError, AttributeError, IndexError, KeyError, NotImplementedError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What reading data raises that are not what they should be."""


def schema(bundle: Bundle) -> Complaints:
    """The row is one, ended well, and the parts for people say what it says."""
    bundle.check_sizes()
    row = bundle.row
    if row["status"] != Status.OK:
        yield f"the cell failed: {row['error']}"
    for part, facts in facts_of(row).items():
        said = bundle.json(part)
        if wrong := [name for name, value in facts.items() if said.get(name) != value]:
            yield f"{part} does not say what the row says: {', '.join(wrong)}"
    if (bundle.manifest.get("cell"), bundle.manifest.get("name")) != (row["cell"], name_of(row)):
        yield "the manifest names another cell than the row"


def protocol(bundle: Bundle) -> Complaints:
    """It was judged by the very protocol that this package has under that name."""
    row = bundle.row
    known = protocol_of(row["protocol"])
    if known.hash != row["protocol_hash"]:
        yield (
            f"judged by a {row['protocol']} with hash {row['protocol_hash']}; here it is version {known.version} with "
            f"hash {known.hash}"
        )
    if (row["norm"], row["eps"]) != (known.norm.label, known.eps_for(profile_of(row["dataset_like"]))):
        yield f"the row says {row['norm']} eps {row['eps']:g}, which is not the protocol's"
    if missing := [spec.name for spec in known.attacks if spec.name not in outcome_keys(row)]:
        yield f"attacks of {row['protocol']} are missing: {', '.join(missing)}"


def stages(bundle: Bundle) -> Complaints:
    """Every stage has the key of its recipe, and the content that its record says."""
    row, kinds = bundle.row, _kinds(bundle)
    for name in bundle.parts:
        if name.endswith(f"/{STAGE}"):
            record = bundle.json(name)
            if recipe_key(record["kind"], record["recipe"], record["upstream"]) != name.split("/")[1]:
                yield f"{name} is not the record of that stage"
    for key in stages_of(row):
        kind = kinds.get(key)
        if kind is None or not bundle.store.has(key):
            yield f"stage {key} of the row is missing"
        elif bundle.store.record(key)["kind"] != kind:
            yield f"stage {key} is no {kind}"
        elif not _is_withheld(bundle, key, kind) and not sound(bundle.store, key, kind):
            yield f"{STAGES}/{key}/{FILES[kind]} is missing, or is not what its record says"


def _kinds(bundle: Bundle) -> Mapping[str, StageKind]:
    """What each of the row's own stages must be."""
    row = bundle.row
    attacks = dict.fromkeys(outcome_keys(row).values(), StageKind.ATTACK)
    audits = dict.fromkeys(json.loads(row["audits"]), StageKind.AUDIT)
    return {**audits, **attacks, row["pretrain_key"]: StageKind.PRETRAIN, row["head_key"]: StageKind.HEAD}


def _is_withheld(bundle: Bundle, key: str, kind: StageKind) -> bool:
    return not bundle.has_weights and f"{STAGES}/{key}/{FILES[kind]}" in bundle.manifest.get("withheld", {})


def chain(bundle: Bundle) -> Complaints:
    """The stages are those of this cell: its settings, seeds and images, each stage on the one before it."""
    row, store = bundle.row, bundle.store
    own = {"encoder": row["pretrain_key"], "head": row["head_key"]}
    for key, facts in _expected(row).items():
        recipe, upstream = store.record(key)["recipe"], store.record(key)["upstream"]
        if wrong := [name for name, value in facts.items() if recipe.get(name) != value]:
            yield f"stage {key} was made with another {' and '.join(wrong)} than the row says"
        if key != row["pretrain_key"] and any(upstream[name] != own[name] for name in own.keys() & upstream.keys()):
            yield f"stage {key} is of another encoder or head"


def _expected(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the recipes of the row's own stages must say, by key."""
    known, profile = protocol_of(row["protocol"]), profile_of(row["dataset_like"])
    pretrain = {"method": row["method"], "config": json.loads(row["config"]), "seed": row["seed_pretrain"]}
    expected = {
        row["pretrain_key"]: {**pretrain, "images": row["pool_fingerprint"]},
        row["head_key"]: {"seed": row["seed_head"], "images": row["data_fingerprint"]},
    }
    for name, key in outcome_keys(row).items():
        spec = known.attack(name)
        identity = {one: value for one, value in spec.identity.items() if one != "eps"}
        images = {} if spec.kind is AttackKind.CORRUPTION else {"images": row["data_fingerprint"]}
        attack = {"attack": json.loads(canonical(identity)), "eps": spec.eps_for(profile), "seed": row["seed_attack"]}
        expected[key] = {**attack, **images}
    return expected


def numbers(bundle: Bundle) -> Complaints:
    """The row's accuracies are those of the outcomes, image by image."""
    row = bundle.row
    outcomes = {name: bundle.store.outcomes(key) for name, key in outcome_keys(row).items()}
    scores = {name: 100 * int(correct.sum()) / len(correct) for name, correct in outcomes.items()}
    if json.loads(row["scores"]) != scores:
        yield f"scores are not those of the outcomes, {canonical(scores)}"
    for spec in protocol_of(row["protocol"]).attacks:
        if spec.metric and row[str(spec.metric)] != scores.get(spec.name):
            yield f"{spec.metric} is {row[str(spec.metric)]}, and {scores.get(spec.name)} by the outcomes"
    names = json.loads(row["worst_over"])
    if {len(outcomes[name]) for name in names} - {row["test_images"]}:
        yield f"outcomes are not of {row['test_images']} test images"
    elif names and row["ra_worst"] != 100 * float(np.logical_and.reduce([outcomes[name] for name in names]).mean()):
        yield "ra_worst is not the share of images that stand under all attacks"


def gates(bundle: Bundle) -> Complaints:
    """The gates of every evaluation were measured, as the row says, and none of them fails."""
    row, said = bundle.row, json.loads(bundle.row["gates"])
    measured: dict[str, object] = {}
    for key in json.loads(row["audits"]):
        measured |= bundle.store.record(key)["result"]["gates"]
    if missing := [name for name in cheap() if name not in said]:
        yield f"not measured: {', '.join(missing)}"
    if said != measured:
        yield "the row's gates are not those of its audits"
    results = [Result.of(name, facts) for name, facts in said.items()]
    if row["gate_verdict"] != overall(results):
        yield f"the row says {row['gate_verdict']}, its gates {overall(results)}"
    if failed := [one.gate for one in results if one.verdict is Verdict.FAIL]:
        yield f"fail: {', '.join(failed)}"


def network(bundle: Bundle) -> Complaints:
    """The weights, where they came along, are those of the network that it names."""
    if bundle.has_weights and not all(
        bool(value.isfinite().all()) for value in bundle.classifier.state_dict().values()
    ):
        yield "weights are not finite"


CHECKS: Mapping[str, Callable[[Bundle], Complaints]] = {
    "schema": schema,
    "protocol": protocol,
    "stages": stages,
    "chain": chain,
    "numbers": numbers,
    "network": network,
}
"""By name; each rests on those before it, and what is scored again on all of them."""


def complaints(check: Callable[[Bundle], Complaints], bundle: Bundle) -> list[str]:
    """All that a check has to say; what cannot even be looked at is a complaint, too."""
    try:
        return list(check(bundle))
    except MALFORMED as error:
        return [f"malformed: {type(error).__name__}: {' '.join(str(error).split())}"]
    except BenchError as error:
        return [str(error)]
