"""An encoder that the user's own Python code builds, as a method: nothing is trained, a function is called."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor, nn

from bench.closure import PROJECT_SOURCES, closure
from bench.config import MethodConfig
from bench.contract import Encoder, Method, Origin, Passes, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import pixels_of
from bench.errors import BenchError, StageError
from bench.keys import digest

FACTORY = re.compile(r"(?P<place>.+):(?P<function>\w+)")


class ImportedConfig(MethodConfig):
    """Settings of an encoder from Python code; its hashes are found by calling the function once."""

    factory: str
    """`module:function` or `./file.py:function`: takes nothing, returns a torch.nn.Module from pixels in [0, 1] to
    features [B, d], or a bench.contract.Encoder. It is called under torch.manual_seed(0)."""
    weights: str | None = None
    """SHA-256 over all parameters and buffers; found."""
    source: str | None = None
    """Hash of the function's source, and of what it reaches in its own package or folder; found. What it takes from
    installed packages does not count."""

    @model_validator(mode="before")
    @classmethod
    def _identified(cls, values: Any) -> Any:
        """What counts is what the function returns and how it is written, not what it is called."""
        given = dict(values)
        text = given.get("factory")
        if not isinstance(text, str) or (given.get("weights") and given.get("source")):
            return given
        return {**given, "weights": hash_of(built(text)), "source": source_of(text)}


def built(text: str) -> nn.Module:
    """What the function `text` returns.

    Raises:
        BenchError: if it cannot be imported or called, or returns no module.
    """
    place, name = _split(text)
    function = getattr(_module(place, text), name, None)
    if not callable(function):
        raise _unfit(text, f"'{place}' has no function '{name}'")
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = function()
    except Exception as error:
        raise _unfit(text, f"it raised {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise _unfit(text, f"it returned a {type(network).__name__}, no torch.nn.Module")
    return network


def hash_of(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and contents of all parameters and buffers."""
    state = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        state.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        state.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def source_of(text: str) -> str:
    """Hash of the function's source and of what it reaches beside it."""
    place, name = _split(text)
    if place.endswith(".py"):
        file = Path(place).resolve()
        return digest(closure([], PROJECT_SOURCES.beside(file), file))
    top = place.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return digest({})
    folder = Path(spec.origin).parent
    found = closure([(place, name)], PROJECT_SOURCES.including(top, folder.parent if spec.parent else folder))
    return digest(found)


def _split(text: str) -> tuple[str, str]:
    if found := FACTORY.fullmatch(text):
        return found["place"], found["function"]
    raise _unfit(text, "it is not of the form module:function")


def _module(place: str, text: str) -> ModuleType:
    folder = str(Path(place).resolve().parent if place.endswith(".py") else Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return _executed(Path(place).resolve()) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise _unfit(text, f"'{place}' does not import: {type(error).__name__}: {error}") from error


def _executed(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_imported_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _unfit(text: str, reason: str) -> BenchError:
    return BenchError(
        f"'{text}' gives no encoder: {reason}. Name a function without arguments, as module:function or "
        f"./file.py:function, that returns a torch.nn.Module from pixels in [0, 1] to features."
    )


class Features(Encoder):
    """A plain module as an encoder; whatever it normalises with, it does inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.routes, self.active_route = ("main",), "main"

    def encode(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, d]."""
        features: Tensor = self.network(x)
        return features


class Imported(Method[ImportedConfig]):
    """An encoder from Python code, judged like any other."""

    name = "imported"
    summary = "an encoder from Python code: imported[factory=./mine.py:encoder]"
    Config = ImportedConfig
    DISPUTES = {
        "normalised elsewhere": (
            "encoders whose repository normalises while it loads images (AMOC src/config.py:77-89; solo-learn "
            "pretrain_dataloader.py:206-209) do not do so themselves, and nothing shows it but a poor score: `factory` "
            "must"
        ),
        "statistics in evaluation": (
            "DeACL's adv_finetune.py re-estimates the running statistics of a frozen encoder; here it is judged in "
            "eval mode, as it is"
        ),
    }
    trains = False
    reads = {Origin.CODE: "factory"}

    def passes(self) -> Passes:
        """None are made here."""
        return Passes(forward=0)

    def external_data(self) -> bool:
        """Nobody here knows what it saw."""
        return True

    def encoder(self, profile: DataProfile) -> Encoder:
        """What the function returns."""
        return _as_encoder(built(self.config.factory))

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        """What the function returns, if it is what it was when the sweep was planned."""
        network = built(self.config.factory)
        if (found := hash_of(network)) != self.config.weights:
            raise StageError(
                f"'{self.config.factory}' returned other weights than while the sweep was planned (SHA-256 "
                f"{str(self.config.weights)[:12]} then, {found[:12]} now): load them from a file in it"
            )
        encoder = _as_encoder(network).to(run.device).eval()
        _check_features(encoder, images)
        return encoder


def _as_encoder(network: nn.Module) -> Encoder:
    return network if isinstance(network, Encoder) else Features(network)


@torch.no_grad()
def _check_features(encoder: Encoder, images: UnlabelledImages) -> None:
    features = encoder.encode(pixels_of(images.pixels[:2]))
    if features.ndim != 2 or len(features) != 2:
        raise StageError(
            f"the encoder returns {list(features.shape)} for 2 images where features should be [2, d]: flatten "
            f"them, or average over the maps"
        )
