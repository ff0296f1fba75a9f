"""Where methods are found: the package `methods`, entry points, files. Imports a method only when it is loaded.

Names are read from the source text, so listing them and suggesting one imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.config import MethodConfig
from bench.data.profiles import DataProfile
from bench.errors import BenchError, unknown
from bench.grammar import canonical_name
from bench.scan import MethodClass, method_classes
from bench.sweep import SHORT_EPOCHS, Schedule
from bench.validation import validated

if TYPE_CHECKING:
    from bench.contract import Method, Origin

PACKAGE = "methods"
GROUP = "bench.methods"
SETTINGS = "settings"
"""The option that picks an entry of a method's settings by name, whatever the data set."""
DEFAULTS = "default"
"""The value of `settings` that starts from the defaults of the method's `Config` instead."""

_FILE = re.compile(r"(?P<file>.*\.py)(?::(?P<cls>\w+))?")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(\.\w+)*):(?P<cls>\w+)")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class MethodEntry:
    """A method that was found and may not be imported yet.

    Attributes:
        name: canonical: lower case, `-` between words.
        origin: where it was found, for people: a file or an entry point.
        text: what `Registry.find` takes to find it again, in another process too.
        module: dotted name of its module, or None for a file that was named by its path.
        file: its source file, or None for an entry point.
        cls: name of its class in there.
        problem: why it cannot be loaded, as far as one can tell without importing it.
    """

    name: str
    origin: str
    text: str
    cls: str
    module: str | None = None
    file: Path | None = None
    problem: str | None = None

    def load(self) -> type[Method[Any]]:
        """Import the class and check that it keeps the contract.

        Raises:
            BenchError: if it does not import (with the line that failed), or is not a complete method.
        """
        if self.problem:
            raise BenchError(f"method '{self.name}' ({self.origin}) cannot be used: {self.problem}")
        found = reduce(_attribute, self.cls.split("."), _imported(self))
        return _complete(found, self)


def _attribute(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name)
    except AttributeError:
        raise BenchError(f"'{thing.__name__}' has no class '{name}': correct the name.") from None


def _reads(entry: MethodEntry) -> Mapping[Origin, str]:
    """What the method reads; nothing where it is broken."""
    try:
        return entry.load().reads
    except BenchError:
        return {}


@dataclass(frozen=True)
class Registry:
    """The methods that are installed.

    Attributes:
        entries: those of the package and of entry points, by name; two of one name are both kept.
    """

    entries: tuple[MethodEntry, ...]

    @classmethod
    def discover(cls, package: str = PACKAGE, group: str = GROUP) -> Registry:
        """Read the names of all installed methods; imports none of them."""
        found = [*_packaged(package), *_plugged(group)]
        return cls(tuple(sorted(found, key=lambda entry: (entry.name, entry.origin))))

    def find(self, text: str) -> MethodEntry:
        """The method called `text`, or the one in the file `text` (`./mine.py:Mine`, or `./mine.py` with one class).

        `package.module:Class` is the class of an installed module.

        Raises:
            BenchError: for an unknown name (with the closest one), a name that two plugins claim, or a file or module
                that is not there, holds no method, or reuses the name of an installed one.
        """
        if path := _FILE.fullmatch(text):
            return self._unclaimed(_in_file(Path(path["file"]), path["cls"]))
        if place := _MODULE.fullmatch(text):
            return self._unclaimed(_in_module(place["module"], place["cls"]))
        name = canonical_name(text).lower()
        claims = [entry for entry in self.entries if entry.name == name]
        if not claims:
            raise unknown("method", text, {entry.name for entry in self.entries})
        if len(claims) > 1:
            origins = " and ".join(entry.origin for entry in claims)
            raise BenchError(f"method '{name}' is claimed twice, by {origins}: rename or uninstall one of them.")
        return claims[0]

    def reading(self, origin: Origin) -> tuple[MethodEntry, str]:
        """The method that stands for an encoder of `origin`, and its setting that says where the encoder is.

        Imports every method that can be.

        Raises:
            BenchError: if no method is for it, or several are.
        """
        loaded = ((entry, _reads(entry)) for entry in self.entries)
        found = [(entry, reads[origin]) for entry, reads in loaded if origin in reads]
        if len(found) == 1:
            return found[0]
        origins = " and ".join(entry.origin for entry, _ in found)
        raise BenchError(
            f"an encoder from {origin} can be read by {f'several methods, of {origins}' if found else 'no method'}: "
            f"{'uninstall all but one' if found else 'install one whose class sets `reads`'}."
        )

    def _unclaimed(self, entry: MethodEntry) -> MethodEntry:
        for other in self.entries:
            if (other.file, other.cls) == (entry.file, entry.cls):
                return other
            if other.name == entry.name:
                raise BenchError(
                    f"the method in {entry.origin} is called '{entry.name}', as is the one in {other.origin}, and "
                    f"tables could not tell them apart: give the class in {entry.origin} another `name`."
                )
        return entry


def resolve(
    entry: MethodEntry,
    options: Mapping[str, Any],
    profile: DataProfile,
    schedule: Schedule = Schedule.PAPER,
    epochs: int | None = None,
) -> MethodConfig:
    """The settings of a method on a data set.

    Its settings for the data set are rescaled to the schedule's epochs first and the options are laid over them, so
    that what a user wrote is what the method gets.

    Args:
        entry: the method.
        profile: the data set, or the one that it is like.
        schedule: `quick` takes the method's `QUICK` settings, the others its `PAPER` ones.
        options: fields of the method's `Config`, and `settings`: the data set whose settings are taken instead
            (`default` for those that `Config` has by itself).
        epochs: pre-training epochs instead of the schedule's.

    Raises:
        BenchError: where the method has no settings for the data set, or an option is unknown or out of range.
    """
    method = entry.load()
    fields = {key: value for key, value in options.items() if key != SETTINGS}
    base = _settings(method, str(options.get(SETTINGS, profile.name)), profile, schedule, fields)
    length = epochs or (SHORT_EPOCHS if schedule is Schedule.SHORT else None)
    base = base.with_epochs(length) if length else base
    values = {name: getattr(base, name) for name in type(base).model_fields}
    return validated(method.Config, values | fields, entry.name, also=(SETTINGS,))


def _settings(
    method: type[Method[Any]], name: str, profile: DataProfile, schedule: Schedule, fields: Mapping[str, Any]
) -> MethodConfig:
    if name == DEFAULTS or not method.trains:
        return validated(method.Config, fields, method.name, also=(SETTINGS,))
    table = method.QUICK if schedule is Schedule.QUICK else method.PAPER
    if name not in table:
        raise _no_settings(method, name, profile, schedule)
    return table[name]


def _no_settings(method: type[Method[Any]], name: str, profile: DataProfile, schedule: Schedule) -> BenchError:
    remedy = f"'{method.name}[{SETTINGS}={{}}]'".format
    if name != profile.name:
        table = method.QUICK if schedule is Schedule.QUICK else method.PAPER
        return unknown(f"{method.name} settings", name, {*table, DEFAULTS})
    if schedule is Schedule.QUICK:
        exist = f"it has some for {_listed(method.QUICK)}" if method.QUICK else "it has none at all"
        return BenchError(
            f"method '{method.name}' has no settings for '{name}' with the schedule 'quick' ({exist}): use "
            f"--schedule short, or start from the defaults of its Config with {remedy(DEFAULTS)}."
        )
    choice = next(iter(method.PAPER), DEFAULTS)
    exist = f"its paper settings are for {_listed(method.PAPER)}" if method.PAPER else "it has no paper settings"
    return BenchError(
        f"method '{method.name}' has no settings for '{name}': {exist}, and none are borrowed unasked. Choose some "
        f"explicitly, for example {remedy(choice)}."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# Finding.


def _packaged(package: str) -> Iterator[MethodEntry]:
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("[!_]*.py")):
            yield from _from_module(file.resolve(), f"{package}.{file.stem}")


def _from_module(file: Path, module: str) -> Iterator[MethodEntry]:
    origin = f"{file.parent.name}/{file.name}"
    try:
        classes = method_classes(file)
    except BenchError as error:
        name = canonical_name(file.stem)
        yield MethodEntry(name, origin, name, cls="", module=module, file=file, problem=str(error))
        return
    named = [found for found in classes if found.name]
    for found in named or classes:
        name = canonical_name(found.name or file.stem)
        problem = None if found.name else f'class {found.cls} has no `name`: add name = "{name}" to it.'
        yield MethodEntry(name, origin, name, found.cls, module, file, problem)


def _plugged(group: str) -> Iterator[MethodEntry]:
    for point in importlib.metadata.entry_points(group=group):
        name, package = canonical_name(point.name), point.dist.name if point.dist else "?"
        yield MethodEntry(name, f"{point.value} of {package}", name, point.attr, point.module)


def _in_file(path: Path, cls: str | None) -> MethodEntry:
    if not path.is_file():
        raise BenchError(f"method file '{path}' is not there: give the path of a Python file, as ./mine.py:Mine.")
    classes = method_classes(path)
    chosen = [found for found in classes if cls in (None, found.cls)]
    if not chosen:
        raise _no_class(path, cls, classes)
    if len(chosen) > 1:
        names = ", ".join(f"{path}:{found.cls}" for found in chosen)
        raise BenchError(f"method file '{path}' holds several methods: say which, {names}.")
    found = chosen[0]
    if not found.name:
        raise BenchError(f"class {found.cls} in '{path}' has no `name`: add a line such as name = \"mine\" to it.")
    file = path.resolve()
    return MethodEntry(canonical_name(found.name), str(path), f"{file}:{found.cls}", found.cls, file=file)


def _in_module(module: str, cls: str) -> MethodEntry:
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise BenchError(f"module '{module}' is not there: install it, or give a file, as ./mine.py:{cls}.")
    entry = _in_file(Path(spec.origin), cls)
    return replace(entry, text=f"{module}:{cls}", origin=f"{module}:{cls}", module=module)


def _no_class(path: Path, cls: str | None, classes: Iterable[MethodClass]) -> BenchError:
    if cls and classes:
        return unknown(f"class of {path}", cls, (found.cls for found in classes))
    return BenchError(
        f"method file '{path}' holds no method: it needs a class derived from bench.contract.Method, or from another "
        f"method, with a `name` of its own."
    )


# Loading.


def _imported(entry: MethodEntry) -> ModuleType:
    try:
        return importlib.import_module(entry.module) if entry.module else _executed(entry)
    except (Exception, SystemExit) as error:
        raise BenchError(
            f"method '{entry.name}' of {entry.origin} does not import: {type(error).__name__}: {error}"
            f"{_place(error, entry.file)}. Correct it there, or install what it needs."
        ) from error


def _executed(entry: MethodEntry) -> ModuleType:
    """Import a file by its path; one module per content, so that an edited file is another module."""
    assert entry.file is not None
    tag = hashlib.sha256(str(entry.file).encode() + entry.file.read_bytes()).hexdigest()[:12]
    name = f"bench_plugin_{entry.file.stem}_{tag}"
    if name in sys.modules:
        return sys.modules[name]
    if str(entry.file.parent) not in sys.path:
        sys.path.append(str(entry.file.parent))
    spec = importlib.util.spec_from_file_location(name, entry.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(error: BaseException, file: Path | None) -> str:
    """The line of the plugin that raised, or of whatever did where the plugin is not in the traceback."""
    if isinstance(error, SyntaxError):
        return f" in {error.filename}" if error.filename else ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    own = [frame for frame in frames if file and Path(frame.filename) == file]
    return f" ({frame.filename}, line {frame.lineno})" if (frame := next(reversed(own or frames), None)) else ""


def _complete(found: Any, entry: MethodEntry) -> type[Method[Any]]:
    """`found`, if it keeps the contract."""
    from bench.contract import Method

    def wrong(reason: str) -> BenchError:
        return BenchError(f"'{entry.cls}' in {entry.origin} is not a complete method: {reason}")

    if not (isinstance(found, type) and issubclass(found, Method)):
        raise wrong("derive it from bench.contract.Method.")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise wrong(f"it lacks {' and '.join(missing)}; define {'them' if len(missing) > 1 else 'it'} in the class.")
    name = str(getattr(found, "name", ""))
    if canonical_name(name) != entry.name or not _NAME.fullmatch(entry.name):
        raise wrong(f"its `name` is {name!r}; it must be '{entry.name}', lower case with '-' between words.")
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, MethodConfig)):
        raise wrong("its `Config` must be a subclass of bench.config.MethodConfig.")
    if strangers := [key for key, value in {**found.PAPER, **found.QUICK}.items() if not isinstance(value, config)]:
        raise wrong(f"its settings for {_listed(strangers)} are not a {config.__name__}.")
    if unheard := set(found.reads.values()) - config.model_fields.keys():
        raise wrong(f"it `reads` {_listed(unheard)}, which {config.__name__} does not have.")
    return found
