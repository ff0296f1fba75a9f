"""The source that a result depends on: every definition that a stage's code reaches, and nothing else.

A module is read as its top-level statements. From a root (a class, a function, a whole module) the walk follows names:
to other statements of the module, and through imports, those inside functions included, to other modules. So a new
protocol, data set or option of another method leaves the keys of finished stages alone. Imports no torch.

What cannot be seen from the text is not followed: modules that are imported by a computed name, files that are no
Python, and registration by decorator in the project's own modules (there are none; plugins' files count whole).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TypeAlias

from bench.keys import PROJECT

INERT = frozenset({"bench.errors", "bench.engine.signs", "bench.attacks.watch"})
"""Modules that word messages or look on, and cannot move a number."""
RESOLVED = frozenset({"PAPER", "QUICK", "DISPUTES", "summary"})
"""Attributes of a method's class that do not count as source: words, and settings, of which recipes hold the chosen."""
EVERYTHING = "*"
"""Stands for all statements of a module, where a name of one could stand."""

Target: TypeAlias = tuple[str, str]
"""A module and a name in it, or `EVERYTHING`."""


@dataclass(frozen=True)
class Sources:
    """Where modules whose source counts are looked for.

    Attributes:
        roots: top-level module name -> the folder that holds it.
        whole: those of `roots` whose modules count whole: code that does not keep this project's rules.
    """

    roots: tuple[tuple[str, Path], ...]
    whole: frozenset[str] = frozenset()

    def file(self, module: str) -> Path | None:
        """The file of `module`, or None where it lies outside the roots (torch, the standard library)."""
        folder = dict(self.roots).get(_top(module))
        if folder is None:
            return None
        path = folder.joinpath(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    def counts_whole(self, module: str) -> bool:
        """Whether a change anywhere in `module` counts."""
        return _top(module) in self.whole

    def beside(self, file: Path) -> Sources:
        """These sources and the modules that a plugin's file finds in its own folder."""
        taken = {*dict(self.roots), file.stem}
        names = {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or path.is_dir()} - taken
        return self._with(dict.fromkeys(sorted(names), file.parent))

    def including(self, module: str, folder: Path) -> Sources:
        """These sources and another top-level module in `folder`."""
        return self if module in dict(self.roots) else self._with({module: folder})

    def _with(self, more: dict[str, Path]) -> Sources:
        return Sources((*self.roots, *more.items()), self.whole | more.keys())


PROJECT_SOURCES = Sources((("bench", PROJECT), ("methods", PROJECT)))


def closure(roots: Iterable[Target], sources: Sources = PROJECT_SOURCES, file: Path | None = None) -> dict[str, str]:
    """Hashes of the source that `roots` reach, by module; see `reached`.

    Comments, docstrings, layout, imports and annotations for type checkers alone do not count, nor does the version of
    Python that reads the source.
    """
    found = reached(roots, sources, file).items()
    return {module: _hash([statement.hash for statement in statements]) for module, statements in found}


def reached(
    roots: Iterable[Target], sources: Sources = PROJECT_SOURCES, file: Path | None = None
) -> dict[str, list[Statement]]:
    """The statements that `roots` reach, by module.

    Args:
        roots: what is called.
        sources: where modules are looked for.
        file: a plugin's file, which counts whole and under its own name, wherever it lies.
    """
    walk = _Walk(sources)
    if file:
        walk.enter(file.name, read_module(file.read_text(encoding="utf-8")), EVERYTHING)
    for module, name in roots:
        walk.visit(module, name)
    return walk.follow()


@dataclass(frozen=True)
class Statement:
    """A top-level statement, or one name of an import.

    Attributes:
        hash: of its normal form.
        binds: the names that it defines.
        uses: the names that it reads.
        imports: what it imports when it runs.
        acts: whether importing the module does more than binding these names: it counts for whoever imports the module.
        first, last: its lines.
    """

    hash: str
    binds: frozenset[str]
    uses: frozenset[str]
    imports: tuple[Target, ...]
    acts: bool
    first: int
    last: int


@dataclass(frozen=True)
class Module:
    """A module as its statements: imports by name, whose order means nothing, then the others as they come."""

    statements: tuple[Statement, ...]

    @cached_property
    def binders(self) -> dict[str, tuple[int, ...]]:
        """Positions of the statements that define each name."""
        found: dict[str, tuple[int, ...]] = {}
        for position, statement in enumerate(self.statements):
            for name in statement.binds:
                found[name] = (*found.get(name, ()), position)
        return found


@dataclass
class _Walk:
    """Follows names from module to module, and notes the statements it meets."""

    sources: Sources
    met: dict[str, tuple[Module, set[int]]] = field(default_factory=dict)
    waiting: list[tuple[str, Module, int]] = field(default_factory=list)
    seen: set[Target] = field(default_factory=set)

    def enter(self, key: str, read: Module, name: str) -> None:
        """Meet a name of a module that was read already."""
        if key not in self.met:
            self.met[key] = (read, set())
            self._note(key, read, (at for at, statement in enumerate(read.statements) if statement.acts))
        everything = range(len(read.statements))
        self._note(key, read, everything if name == EVERYTHING else read.binders.get(name, ()))

    def visit(self, module: str, name: str) -> None:
        """Meet a name of a module, if its source counts; `""` is none but what happens on import."""
        file = self.sources.file(module)
        if file is None or module in INERT or (module, name) in self.seen:
            return
        self.seen.add((module, name))
        if parent := module.rpartition(".")[0]:
            self.visit(parent, "")
        package = module if file.name == "__init__.py" else parent
        read = read_module(file.read_text(encoding="utf-8"), package)
        self.enter(module, read, EVERYTHING if self.sources.counts_whole(module) else name)
        if name not in (EVERYTHING, "", *read.binders):
            self.visit(f"{module}.{name}", EVERYTHING)

    def _note(self, key: str, read: Module, positions: Iterable[int]) -> None:
        noted = self.met[key][1]
        for position in positions:
            if position not in noted:
                noted.add(position)
                self.waiting.append((key, read, position))

    def follow(self) -> dict[str, list[Statement]]:
        """Meet what all that was met rests on; returns it by module, in the order of the source."""
        while self.waiting:
            owner, read, position = self.waiting.pop()
            statement = read.statements[position]
            for used in statement.uses:
                self._note(owner, read, read.binders.get(used, ()))
            for target in statement.imports:
                self.visit(*target)
        met = sorted(self.met.items())
        return {key: [read.statements[at] for at in sorted(noted)] for key, (read, noted) in met if noted}


@cache
def read_module(source: str, package: str = "") -> Module:
    """The statements of a module; `package` is what its relative imports start from."""
    tree = ast.parse(source)
    body = [node for node in map(_Stripped().visit, tree.body) if node is not None]
    imports = [one for node in body for one in _names_of(node, package)]
    others = [_statement(node, package) for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return Module((*sorted(imports, key=lambda one: one.hash), *others))


def _names_of(node: ast.stmt, package: str) -> Iterator[Statement]:
    """A statement per name that an import binds; `*` binds nothing that can be known here, so it acts."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for local, target in _imported(node, package):
            star = local == EVERYTHING
            binds = frozenset(() if star else {local})
            yield Statement(_hash((local, target)), binds, frozenset(), (target,), star, node.lineno, node.lineno)


def _statement(node: ast.stmt, package: str) -> Statement:
    inner = list(ast.walk(node))
    lazy = [one for one in inner if isinstance(one, ast.Import | ast.ImportFrom)]
    binds = _bound(node)
    return Statement(
        hash=_hash(_normal(node)),
        binds=binds,
        uses=frozenset(one.id for one in inner if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)),
        imports=tuple(target for one in lazy for _, target in _imported(one, package)),
        acts=not binds or isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With),
        first=min(one.lineno for one in (node, *getattr(node, "decorator_list", ()))),
        last=node.end_lineno or node.lineno,
    )


def _bound(node: ast.AST) -> frozenset[str]:
    """The names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset({node.name})
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            found.add(child.id)
        elif not isinstance(child, ast.Name):
            found |= _bound(child)
    return frozenset(found)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Target]]:
    """Local name and target of each name of an import statement."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or _top(alias.name), (alias.name, EVERYTHING)
        return
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    module = ".".join(part for part in (*parents, node.module or "") if part)
    for alias in node.names:
        yield alias.asname or alias.name, (module, alias.name)


class _Stripped(ast.NodeTransformer):
    """Drops what cannot move a number: bare strings (docstrings), imports for type checkers, settings of a method."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        name = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        return None if name == "TYPE_CHECKING" and not node.orelse else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [
            one for one in node.body if not (isinstance(one, ast.Assign | ast.AnnAssign) and _bound(one) & RESOLVED)
        ]
        return self.generic_visit(node)


def _normal(node: object) -> object:
    """A syntax tree as nested lists: no positions, and no empty fields, of which later versions of Python have more."""
    if isinstance(node, ast.AST):
        fields = [(name, _normal(value)) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return [type(node).__name__, fields]
    return [_normal(one) for one in node] if isinstance(node, list) else repr(node)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:24]


def _top(module: str) -> str:
    return module.partition(".")[0]
