"""The file of a bundle: a zip of named parts, none of which is code, and the SHA-256 of each of them.

    manifest.json                   format, what the cell is called, size and SHA-256 of every other part
    row.parquet                     its row
    config.json environment.json    its resolved settings; where it was computed and packed
    protocol.json gates.json        how it was judged, version and hash; what the gates say
    network.json                    what the encoder's network is to be built from; absent without weights
    stages/KEY/                     as in a store: stage.json, encoder, head, numbers (.safetensors), outcomes.parquet

Nothing in it is unpickled, imported or decompressed; a part of any other name is refused, so no path leads anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import replacing

FORMAT = 1
MANIFEST = "manifest.json"
ROW = "row.parquet"
CONFIG, ENVIRONMENT, PROTOCOL, GATES, NETWORK = (
    f"{name}.json" for name in ("config", "environment", "protocol", "gates", "network")
)
STAGES = "stages"

_TOP = "|".join(map(re.escape, (MANIFEST, ROW, CONFIG, ENVIRONMENT, PROTOCOL, GATES, NETWORK)))
_OF_STAGE = r"(?:stage|history)\.json|(?:encoder|head|numbers)\.safetensors|outcomes\.parquet"
_ALLOWED = re.compile(rf"{_TOP}|{STAGES}/[0-9a-f]{{24}}/(?:{_OF_STAGE})")
MOST_PARTS = 1000
MOST_BYTES = 4 * 2**30
"""Of a bundle: a ResNet-18 encoder takes 45 MB, and there is one."""
MOST_JSON_BYTES = 16 * 2**20
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
"""Of every part: equal content is an equal file."""

Parts = Mapping[str, bytes]
"""Name of a part to its content."""


def sha256(content: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def write(path: Path, parts: Parts, facts: Mapping[str, Any]) -> None:
    """Write a bundle, all of it or nothing.

    Args:
        path: of the file.
        parts: all but the manifest.
        facts: what the manifest says besides, as JSON data.
    """
    files = {name: {"bytes": len(content), "sha256": sha256(content)} for name, content in sorted(parts.items())}
    manifest = json.dumps({"format": FORMAT, **facts, "files": files}, indent=1).encode()
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file:
        for name, content in {MANIFEST: manifest, **dict(sorted(parts.items()))}.items():
            file.writestr(zipfile.ZipInfo(name, _TIMESTAMP), content)


def read(path: Path) -> tuple[Mapping[str, Any], Parts]:
    """Manifest and parts of a bundle; whether contents are what the manifest says is left to be checked.

    Raises:
        BenchError: if the file is not there, is torn, is no bundle, holds what no bundle holds, or was written by a
            newer version.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not there"
        raise BenchError(f"'{path}' is {found}: name a file that `bench submit` wrote.")
    with _explained(path), zipfile.ZipFile(path) as file:
        members = _members(path, file)
        parts = {name: file.read(member) for name, member in members.items()}
    manifest = _manifest(path, parts.pop(MANIFEST, b""))
    if missing := sorted(manifest["files"].keys() - parts.keys()):
        raise torn(path, f"{missing[0]} is missing")
    if strangers := sorted(parts.keys() - manifest["files"].keys()):
        raise torn(path, f"its manifest does not know {strangers[0]}")
    return manifest, parts


def altered(manifest: Mapping[str, Any], parts: Parts) -> Iterator[str]:
    """Names of the parts that are not what the manifest says."""
    for name, content in parts.items():
        if manifest["files"][name] != {"bytes": len(content), "sha256": sha256(content)}:
            yield name


def torn(path: Path, reason: str) -> BenchError:
    """The error for a file that cannot be read as a bundle."""
    return BenchError(
        f"'{path}' is no whole bundle ({reason}): have it sent again, or write it anew with `bench submit CELL --out "
        f"FILE.zip`."
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise torn(path, str(error) or type(error).__name__) from error


def _members(path: Path, file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The parts by name, if all of them may be there.

    Raises:
        BenchError: for a name, a size or a compression that no bundle has.
    """
    members = {one.filename: one for one in file.infolist()}
    for name, member in members.items():
        if not _ALLOWED.fullmatch(name):
            raise torn(path, f"{name[:80]!r} has no place in one")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise torn(path, f"{name} is compressed, and bundles never are")
        if name.endswith(".json") and member.file_size > MOST_JSON_BYTES:
            raise torn(path, f"{name} has {member.file_size} bytes, and at most {MOST_JSON_BYTES} are read")
    if len(members) < len(file.infolist()):
        raise torn(path, "a name stands in it twice")
    size = sum(member.file_size for member in members.values())
    if len(members) > MOST_PARTS or size > MOST_BYTES or size > path.stat().st_size:
        raise torn(path, f"{len(members)} parts with {size} bytes are more than a bundle holds")
    return members


def _manifest(path: Path, content: bytes) -> Mapping[str, Any]:
    manifest = json_object(content)
    if manifest is None or not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("format"), int):
        raise torn(path, f"its {MANIFEST} is missing, or cannot be read")
    if manifest["format"] > FORMAT:
        raise BenchError(
            f"'{path}' is a bundle of format {manifest['format']}, and this acl-bench reads formats up to {FORMAT}: "
            f"upgrade it (pip install --upgrade acl-bench)."
        )
    return manifest


def json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in some text; None where there is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
