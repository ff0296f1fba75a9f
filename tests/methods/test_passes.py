"""What an epoch is declared to cost where the encoder is passed between steps, against images that were counted."""

from __future__ import annotations

import pytest
from tiny import BATCH, IMAGES, run_of, seen, tiny
from torch import Tensor

from bench.contract import Passes
from bench.models.encoder import ResNetEncoder

BETWEEN_STEPS = {
    "ncp[cluster_grid=(2,12,5)]": "the choice of K, then a clustering per epoch",
    "ncp[clusters=4,recluster_every=2]": "a clustering every other epoch",
    "dynacl-pp[clusters=4,probe_epochs=2]": "a clustering, then two epochs of probing",
    "air-pp[probe_epochs=3]": "as above, on two routes",
    "advcl[clusters=(2,4)]": "a clustering by another method's features",
    "deacl": "nothing",
}


@pytest.mark.parametrize("text", BETWEEN_STEPS)
def test_an_epochs_passes_are_those_counted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, counted, features = tiny(text, epochs=3), [0], ResNetEncoder.features
    run = run_of(method)

    def passed(self: ResNetEncoder, x: Tensor, route: str) -> Tensor:
        counted[0] += len(x) if len(x) >= BATCH else 0  # Not the few by which a student is compared with its teacher.
        return features(self, x, route)

    monkeypatch.setattr(ResNetEncoder, "features", passed)
    monkeypatch.setattr("bench.engine.loop.signs_of_life", lambda *_: {})
    method.pretrain(seen(), run)
    declared = method.passes_per_epoch()
    assert declared is not None
    assert counted[0] / IMAGES / 3 == pytest.approx(declared.forward)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ncp", Passes(forward=8 + 201 / 200, backward_input=5, backward=2)),
        ("ncp[clusters=70,recluster_every=1000]", Passes(forward=8 + 1 / 200, backward_input=5, backward=2)),
        ("dynacl-pp", Passes(forward=13 + 11 / 25, backward_input=10, backward=2)),
        ("advcl[labels_from=simclr]", Passes(forward=30 + 1 / 1000, backward_input=10, backward=5)),
    ],
)
def test_of_the_papers_runs(text: str, expected: Passes) -> None:
    from bench.data.profiles import profile_of
    from bench.grammar import parse_specs
    from bench.registry import Registry, resolve

    spec = parse_specs(text)[0]
    entry = Registry.discover().find(spec.name)
    assert entry.load()(resolve(entry, spec.options, profile_of("cifar10"))).passes_per_epoch() == expected
