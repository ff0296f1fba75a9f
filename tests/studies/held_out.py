"""How the `quick` settings were chosen: accuracies on the held-out slice of `digits`, never on its test images.

    python tests/studies/held_out.py "simclr,ncp[eps=[0.1,0.2]]" --seeds 100,101 --eps 0.1,0.2

Prints clean and robust accuracy (PGD-20, or AutoAttack with `--metric aa`) of a `slf-1` head that saw neither the
held-out slice nor the test images, or of a supervised method's own head (`--protocol own-1`). Supervised methods do not
train on the held-out slice here.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AUTOATTACK, CLEAN, PGD20
from bench.contract import Encoder
from bench.data import loading
from bench.data.profiles import profile_of
from bench.grammar import Spec, expand, parse_specs
from bench.plan import DataRef
from bench.protocols.heads import HeadContext, classifier_of, fit_head
from bench.protocols.recipes import PROTOCOLS, protocol_of
from bench.randomness import Randomness
from bench.registry import Registry, resolve
from bench.stages.pretrain import pretrain
from bench.sweep import Schedule

PROFILE = profile_of("digits")
ATTACKS = {"ra": PGD20, "aa": AUTOATTACK}


@cache
def encoder_of(text: str, seed: int) -> Encoder:
    """The encoder of a method spec on `digits`, its upstreams trained first."""
    spec = parse_specs(text)[0]
    entry = Registry.discover().find(spec.name)
    method = entry.load()(resolve(entry, spec.options, PROFILE, Schedule.QUICK))
    upstream = {name: encoder_of(need.method, seed) for name, need in method.requires().items()}
    data = loading.data_set(DataRef("digits"), Path("."))
    images = data.fit if method.labelled else data.as_pool().images
    return pretrain(method, images, upstream, seed, lambda *_: None, lambda _: None)


def judge(job: tuple[str, int, tuple[float, ...], str, str]) -> Mapping[str, Any]:
    """Held-out accuracies of one method spec and seed."""
    text, seed, budgets, metric, protocol = job
    torch.set_num_threads(1)
    encoder = encoder_of(text, seed)
    data = loading.data_set(DataRef("digits"), Path("."))
    sealed = replace(data, train=data.fit, held_out=torch.arange(0, len(data.fit), 10))
    device, quiet = torch.device("cpu"), lambda *_: None
    context = HeadContext(Randomness(seed, "head"), device, quiet, PROFILE.eps)
    classifier = classifier_of(encoder, fit_head(encoder, sealed, protocol_of(protocol).recipe, context))
    attack = AttackContext(Randomness(seed, "attack"), device, quiet)
    spec = ATTACKS[metric]
    robust = {eps: outcomes(classifier, data.selection, spec, eps, attack).float().mean().item() for eps in budgets}
    clean = outcomes(classifier, data.selection, CLEAN, PROFILE.eps, attack).float().mean().item()
    return {"method": text, "seed": seed, "sa": clean, **{f"{metric}@{eps:g}": value for eps, value in robust.items()}}


def spelt(name: str, value: str | int | float) -> str:
    """A fraction with its name; a method or a seed as it is."""
    return f"{name} {value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print a line per method and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods")
    parser.add_argument("--seeds", default="100,101")
    parser.add_argument("--eps", default=str(PROFILE.eps))
    parser.add_argument("--metric", choices=ATTACKS, default="ra")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="slf-1")
    options = parser.parse_args()
    specs: list[Spec] = [point for spec in parse_specs(options.methods) for point in expand(spec)]
    budgets = tuple(float(eps) for eps in options.eps.split(","))
    seeds = [int(seed) for seed in options.seeds.split(",")]
    jobs = [(spec.text, seed, budgets, options.metric, options.protocol) for spec in specs for seed in seeds]
    with ProcessPoolExecutor(2) as pool:
        for result in pool.map(judge, jobs):
            print("  ".join(spelt(name, value) for name, value in result.items()), flush=True)


if __name__ == "__main__":
    main()
