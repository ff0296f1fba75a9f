"""Hashes that address the store: of plain data, and of the source that a result depends on. Imports no torch."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
INERT = frozenset({"bench.errors", "bench.keys"})
"""Modules whose source cannot move a number: they are left out of every closure."""


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: one spelling per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """24 hexadecimal digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Sources:
    """Where modules whose source counts are looked for.

    Attributes:
        roots: top-level module name -> the folder that holds it.
    """

    roots: tuple[tuple[str, Path], ...]

    def file(self, module: str) -> Path | None:
        """The file of `module`, or None where it lies outside the roots (torch, the standard library)."""
        folder = dict(self.roots).get(module.partition(".")[0])
        if folder is None:
            return None
        path = folder.joinpath(*module.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
        return None


PROJECT_SOURCES = Sources((("bench", PROJECT), ("methods", PROJECT)))


def plugin_sources(file: Path) -> Sources:
    """The project's sources and those beside a plugin file: its helpers count as well."""
    top = file.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    beside = {path.stem if path.is_file() else path.name for path in top.iterdir()}
    taken = dict(PROJECT_SOURCES.roots)
    return Sources(PROJECT_SOURCES.roots + tuple((name, top) for name in sorted(beside) if name not in taken))


def closure(modules: Iterable[str], files: Iterable[Path] = (), sources: Sources = PROJECT_SOURCES) -> dict[str, str]:
    """Hash of every source file that `modules` and `files` import, directly or not, by module name or file name.

    Comments, docstrings and layout do not count, so only a change that could move a number changes a hash.
    """
    found: dict[str, str] = {}
    waiting = [(name, sources.file(name)) for name in modules] + [(file.name, file) for file in files]
    while waiting:
        name, file = waiting.pop()
        if file is None or name in found or name in INERT:
            continue
        source = _read(file, file.stat().st_mtime_ns)
        found[name] = source.hash
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [(module, sources.file(module)) for module in source.modules(package)]
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Source:
    hash: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]

    def modules(self, package: str) -> Iterator[str]:
        """Names of modules that may be meant: `from a import b` may name `a` alone or the module `a.b`."""
        for level, module, names in self.imports:
            base = module
            if level:
                parents = package.split(".")[: len(package.split(".")) - level + 1]
                base = ".".join(part for part in (*parents, module) if part)
            yield base
            yield from (f"{base}.{name}" for name in names)
            yield from _parents(base)


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


@lru_cache(maxsize=None)
def _read(file: Path, modified: int) -> _Source:
    tree = _Normalise().visit(ast.parse(file.read_text(encoding="utf-8")))
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:24], tuple(imports))


class _Normalise(ast.NodeTransformer):
    """Drops what cannot move a number: bare strings (docstrings) and imports for type checkers."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def changed(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The entries that differ between two recipes, as `path: old -> new`."""
    for name in sorted({*before, *after}):
        old, new, path = before.get(name), after.get(name), f"{prefix}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed(old, new, f"{path}.")
        elif old != new:
            yield f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else text[:8]
