"""`bench list`: the methods, data sets, protocols and attacks there are, and all that is declared about one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.layout import borderless

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from bench.attacks.threats import AttackSpec
    from bench.config import MethodConfig
    from bench.contract import Method
    from bench.protocols.parts import Case
    from bench.protocols.recipes import HeadRecipe, Protocol
    from bench.registry import MethodEntry


class Kind(StrEnum):
    """What can be listed."""

    METHODS = "methods"
    DATASETS = "datasets"
    PROTOCOLS = "protocols"
    ATTACKS = "attacks"
    GATES = "gates"


def list_things(
    kind: Annotated[Kind, typer.Argument(show_default=False)],
    name: Annotated[str | None, typer.Argument(help="One of them, in full.", show_default=False)] = None,
    costs: Annotated[
        bool, typer.Option("--costs", help="Methods: the passes of a step and of an epoch, by data set.")
    ] = False,
) -> None:
    """List methods, data sets, protocols, attacks or gates; with a name, all of its settings and their sources."""
    from rich.console import Console

    from bench.errors import BenchError

    if costs and kind is not Kind.METHODS:
        raise BenchError(
            f"--costs says what the steps of methods cost, and {kind} have none: bench list methods --costs"
        )
    console = Console()
    with console.status("looking"):
        parts = list(_costs(name) if costs else LISTS[kind](name))
    for part in parts:
        console.print(part, highlight=False)


# Gates.


def _gates(name: str | None) -> Iterator[RenderableType]:
    from bench.gates.table import GATES, chosen

    table = borderless("gate", "looks at", "warns above", "fails above", "what that would mean")
    for one in chosen(name):
        gate = GATES[one]
        limits = (gate.threshold.warn, gate.threshold.fail)
        shown = ("" if limit is None else f"{limit:g} {gate.threshold.unit}" for limit in limits)
        table.add_row(one, str(gate.needs), *shown, gate.why)
    yield table
    yield "\n[dim]Those that attack or train: bench audit CELL. The others are part of every evaluation.[/]"


# Methods.


def _methods(name: str | None) -> Iterator[RenderableType]:
    from bench.registry import Registry

    registry = Registry.discover()
    if name is not None:
        yield from _method(registry.find(name))
        return
    table = borderless("method", "what it is", "paper settings for", "passes per image", "from")
    for entry in registry.entries:
        table.add_row(*_method_row(entry))
    yield table
    yield "\n[dim]A pass is a forward pass of the encoder on one image; a backward pass to the weights counts two.[/]"
    yield "[dim]A step's are per image of its batch, an epoch's per pre-training image, on average over the run.[/]"
    yield "[dim]By data set: bench list methods --costs; settings of a method: bench list methods NAME[/]"


def _method_row(entry: MethodEntry) -> tuple[str, ...]:
    from rich.markup import escape

    from bench.errors import BenchError

    try:
        method = entry.load()
    except BenchError as error:
        return entry.name, f"[red]broken: {escape(str(error))}[/]", "", "", escape(entry.origin)
    return entry.name, escape(method.summary), ", ".join(method.PAPER), _cost(method), escape(entry.origin)


COUNTS = ("forward", "backward to input", "full backward", "a step", "an epoch")
COUNTED = (
    "Passes of the encoder per image, in the totals a full backward pass counted twice: of a step, per image of its "
    "batch; of an epoch, per pre-training image, on average over the run. They differ where epochs leave images out, "
    "or clustering, probing or selection pass the encoder between steps. Upstreams are not in them."
)


def _costs(name: str | None) -> Iterator[RenderableType]:
    from bench.perf.costs import costs
    from bench.registry import Registry

    registry = Registry.discover()
    table = borderless("method", "data set", "schedule", *COUNTS, numbers=slice(3, None))
    for entry in registry.entries if name is None else (registry.find(name),):
        if entry.problem is None or name is not None:
            for cost in costs(entry.load()):
                table.add_row(*cost.cells)
    yield table
    yield f"\n[dim]{COUNTED}[/]"


def _settings(method: type[Method[Any]]) -> dict[str, MethodConfig]:
    """Every named group of settings; those of the schedule `quick` are marked so."""
    return {**method.PAPER, **{f"{name} (quick)": config for name, config in method.QUICK.items()}}


def _cost(method: type[Method[Any]]) -> str:
    if not method.trains:
        return "0"
    for config in _settings(method).values():
        made = method(config)
        if (step := made.passes()) and (epoch := made.passes_per_epoch()):
            return f"{step.total:g}" if step == epoch else f"{step.total:g} a step, {epoch.total:.4g} an epoch"
    return "?"


def _method(entry: MethodEntry) -> Iterator[RenderableType]:
    from rich.markup import escape

    method = entry.load()
    groups = _settings(method)
    yield f"[bold]{entry.name}[/]  {escape(method.summary)}"
    scope = ", ".join(groups) or ("no data set" if method.trains else "every data set, and every schedule")
    yield f"[dim]from {escape(entry.origin)}; settings for {escape(scope)}[/]"
    for told in (*_upstreams(method, groups), *_marks(method, groups)):
        yield escape(told)
    yield ""
    yield _costs_of(method)
    yield ""
    table = borderless("option", "default", "other values", "what the default rests on")
    for option, field in method.Config.model_fields.items():
        default = "required" if field.is_required() else _plain(field.get_default(call_default_factory=True))
        table.add_row(
            option, escape(default), escape(_elsewhere(option, default, groups)), escape(field.description or "")
        )
    yield table
    yield from _disputes(method)
    yield f'\n[dim]Another value: --methods "{entry.name}\\[OPTION=VALUE]"; several, as a grid: OPTION=\\[A,B][/]'


def _upstreams(method: type[Method[Any]], groups: Mapping[str, MethodConfig]) -> Iterator[str]:
    needs = {(part, need.method) for config in groups.values() for part, need in method(config).requires().items()}
    yield from (f"needs first: {name}, as its {part}" for part, name in sorted(needs))


def _marks(method: type[Method[Any]], groups: Mapping[str, MethodConfig]) -> Iterator[str]:
    """What tables mark, where any of its settings does so."""
    made = [method(config) for config in groups.values()]
    if any(one.external_data() for one in made):
        yield "marked in tables: it sees images or weights from outside the pre-training images"
    if any(one.labelled_pretraining() for one in made):
        yield "marked in tables: its pre-training sees classes"


def _costs_of(method: type[Method[Any]]) -> Table:
    """The passes of a step and of an epoch, one row for all settings that cost the same."""
    from bench.perf.costs import costs

    found: dict[tuple[str, ...], list[str]] = {}
    for cost in costs(method):
        _, dataset, schedule, *counts = cost.cells
        found.setdefault(tuple(counts), []).append(dataset if schedule == "paper" else f"{dataset} ({schedule})")
    table = borderless("passes per image", *COUNTS)
    for row, groups in found.items():
        table.add_row(", ".join(groups), *row)
    return table


def _disputes(method: type[Method[Any]]) -> Iterator[RenderableType]:
    """Where paper and code disagree."""
    from rich.markup import escape

    if method.DISPUTES:
        table = borderless("dispute", "where, and what is done here")
        for topic, told in method.DISPUTES.items():
            named = f"option {topic}" if topic in method.Config.model_fields else topic
            table.add_row(escape(named), escape(told))
        yield ""
        yield table


def _elsewhere(option: str, default: str, groups: Mapping[str, MethodConfig]) -> str:
    """`stl10: 1e-05; digits (quick): 16`: the groups whose value is not the default, equal values together."""
    holders: dict[str, list[str]] = {}
    for name, config in groups.items():
        if (value := _plain(getattr(config, option))) != default:
            holders.setdefault(value, []).append(name)
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in holders.items())


def _plain(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    levels = round(255 * value)  # Budgets of attacks are written in grey levels, as papers do.
    return f"{levels}/255" if levels and len(f"{value:g}") > 6 and abs(levels - 255 * value) < 1e-9 else f"{value:g}"


# Data sets.


def _datasets(name: str | None) -> Iterator[RenderableType]:
    from rich.markup import escape

    from bench.data.profiles import PROFILES, profile_of
    from bench.data.sources import FORMS

    if name is None:
        table = borderless("data set", "what it is", "on this machine")
        for form, meaning in FORMS.items():
            table.add_row(escape(form), escape(meaning), _whereabouts(form))
        yield table
        yield f"\n[dim]NAME after like= is one of {', '.join(PROFILES)}: it lends its paper settings and eps.[/]"
        return
    profile = profile_of(name)
    table = borderless("fact", "value")
    for fact in ("name", "classes", "image_size", "mean", "std", "eps"):
        table.add_row(fact, _plain(getattr(profile, fact)))
    yield table


def _whereabouts(form: str) -> str:
    from bench.data.sources import is_here, parse_source
    from bench.sweep import default_data_dir

    if "DIR" in form:
        return ""
    return "[green]yes[/]" if is_here(parse_source(form), default_data_dir()) else "downloaded when needed"


# Protocols.


def _protocols(name: str | None) -> Iterator[RenderableType]:
    from bench.protocols.recipes import PROTOCOLS, protocol_of

    if name is not None:
        yield from _protocol(protocol_of(name))
        return
    table = borderless("protocol", "trained on", "its rate", "encoder", "metrics", "whose")
    for protocol in PROTOCOLS.values():
        table.add_row(*_protocol_row(protocol))
    yield table
    yield "\n[dim]A chosen rate is the best on the held-out slice, for each encoder; a fixed one is a paper's.[/]"
    yield "[dim]Every part of a protocol, and why: bench list protocols NAME[/]"


def _protocol_row(protocol: Protocol) -> tuple[str, ...]:
    recipe = protocol.recipe
    metrics = ", ".join(attack.metric or attack.name for attack in protocol.attacks)
    return protocol.name, *_training_of(recipe), _encoder_in(recipe), metrics, _origin(protocol)


def _encoder_in(recipe: HeadRecipe) -> str:
    """What happens to the encoder meanwhile."""
    return f"trained, {recipe.encoder_mode}" if recipe.scope == "all" else str(recipe.encoder_mode)


def _training_of(recipe: HeadRecipe) -> tuple[str, str]:
    """The images that a head is trained on, and its rate."""
    if not recipe.trained:
        return "the encoder's own, as it is", "none"
    images = recipe.objective + (f", {recipe.augmentation}" if recipe.augmentation != "none" else "")
    by_method = any(case.methods and case.rate_by_dataset for case in recipe.cases)
    fixed = "fixed, by method" if by_method else "fixed"
    return images, f"as {recipe.rate_from}" if recipe.rate_from else "chosen" if recipe.rates else fixed


def _origin(protocol: Protocol) -> str:
    return "a paper's own" if protocol.legacy else "this benchmark's"


def _protocol(protocol: Protocol) -> Iterator[RenderableType]:
    from dataclasses import asdict

    from rich.markup import escape

    yield f"[bold]{escape(protocol.name)}[/]  {_origin(protocol)}, version {protocol.version}, hash {protocol.hash}"
    yield f"[dim]{escape(protocol.why)}[/]"
    table = borderless("part", "value")
    for part, value in protocol.recipe.identity.items():
        if part != "cases":
            table.add_row(f"head.{part}", escape(_data(value)))
    for case in protocol.recipe.cases:
        table.add_row(f"head for {_whom(case)}", escape(_said(case)))
    for attack in protocol.attacks:
        facts = {part: value for part, value in asdict(attack).items() if part != "name" and value}
        table.add_row(f"attack.{attack.name}", escape(_data(facts)))
    yield table


def _whom(case: Case) -> str:
    """`air, air-pp on stl10`."""
    methods = ", ".join(case.methods) or "all methods"
    return f"{methods} on {', '.join(case.datasets)}" if case.datasets else methods


def _said(case: Case) -> str:
    """What a case changes."""
    parts = {"rate_by_dataset": case.rate_by_dataset, "epochs": case.epochs, "batch": case.batch}
    said = {name: value for name, value in {**parts, "milestones": case.milestones}.items() if value}
    return "; ".join(f"{name} {_data(value)}" for name, value in said.items())


# Attacks.


def _attacks(name: str | None) -> Iterator[RenderableType]:
    from bench.attacks.catalogue import ATTACK_SETS, ATTACKS, attack_of

    if name is not None and name not in ATTACK_SETS:
        yield from _attack(attack_of(name))
        return
    chosen = ATTACK_SETS.get(name, ()) if name else tuple(ATTACKS)
    table = borderless("attack", "norm", "steps", "step / eps", "starts", "column")
    for spec in (ATTACKS[one] for one in chosen):
        table.add_row(*_attack_row(spec))
    yield table
    if name is None:
        sets = borderless("set", "attacks")
        for title, members in ATTACK_SETS.items():
            sets.add_row(title, ", ".join(members))
        yield sets
        yield "\n[dim]--attacks takes names, sets, and transfer:CELL, which is PGD-20 on another finished cell.[/]"
        yield "[dim]--norm, --eps and --steps change those that have them. What fills no column: bench show CELL[/]"


def _attack_row(spec: AttackSpec) -> tuple[str, ...]:
    from bench.attacks.threats import AttackKind

    norm = spec.norm.label if spec.bounded else ""
    fraction = f"{spec.step_fraction:g}" if spec.step_fraction else ""
    starts = str(spec.restarts) if spec.kind is AttackKind.PGD and spec.random_start else ""
    return spec.name, norm, str(spec.steps or ""), fraction, starts, spec.metric or ""


def _attack(spec: AttackSpec) -> Iterator[RenderableType]:
    from dataclasses import asdict

    from rich.markup import escape

    from bench.data.profiles import PROFILES

    table = borderless("part", "value")
    for part, value in asdict(spec).items():
        table.add_row(part, escape(_data(value)))
    if spec.bounded:
        radii = {name: f"{spec.eps_for(profile):.4g}" for name, profile in PROFILES.items()}
        table.add_row("eps by data set", escape(_data(radii)))
    yield table


def _data(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_data(part)}" for name, part in value.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(map(_data, value)) or "none"
    return "none" if value is None else _plain(value)


LISTS: Mapping[Kind, Callable[[str | None], Iterator[RenderableType]]] = {
    Kind.METHODS: _methods,
    Kind.DATASETS: _datasets,
    Kind.PROTOCOLS: _protocols,
    Kind.ATTACKS: _attacks,
    Kind.GATES: _gates,
}
