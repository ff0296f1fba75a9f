"""The result row: what it takes, what it refuses, and how it is stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bench.errors import BenchError
from bench.schema import SCHEMA_VERSION, Row, Status, arrow_schema, check_schema_version

NEEDED: dict[str, Any] = {
    "cell": "c0",
    "status": Status.OK,
    "method": "ncp",
    "config": "{}",
    "label": "ncp",
    "dataset": "digits",
    "dataset_like": "digits",
    "pretrain_data": "digits",
    "schedule": "quick",
    "seed_pretrain": 0,
    "seed_head": 0,
    "seed_attack": 0,
    "protocol": "slf-1",
    "protocol_hash": "p1",
    "eps": 0.1,
    "harness_version": "0.1",
    "plugin": "methods/ncp.py",
    "plugin_hash": "h1",
    "created": "2026-01-01T00:00:00+00:00",
}


def row(**columns: Any) -> Row:
    return Row(**{**NEEDED, **columns})


def test_every_column_is_documented() -> None:
    assert [name for name, field in Row.model_fields.items() if not field.description] == []


def test_arrow_columns_follow_the_row_in_order_type_and_documentation() -> None:
    schema = arrow_schema()

    assert schema.names == list(Row.model_fields)
    assert schema.field("seed_pretrain").type == pa.int64()
    assert schema.field("status").type == pa.string()
    assert schema.field("aa").type == pa.float64()
    assert schema.field("legacy").type == pa.bool_()
    assert schema.field("aa").nullable
    assert not schema.field("eps").nullable
    assert schema.field("eps").metadata[b"doc"] == b"Attack budget, in units of [0, 1] pixels."


@pytest.mark.parametrize(
    "one", [row(aa=46.875, limit_train=200, limited=True), row(status=Status.FAILED, error="the loss became NaN")]
)
def test_a_row_survives_parquet(one: Row, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([one.as_dict()], schema=arrow_schema()), tmp_path / "row.parquet")

    [record] = pq.read_table(tmp_path / "row.parquet").to_pylist()

    assert Row(**record) == one


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"aa": 100.5}, "aa"),
        ({"sa": -1.0}, "sa"),
        ({"aa": float("nan")}, "aa"),
        ({"eps": -0.1}, "eps"),
        ({"config": "{not json"}, "config"),
        ({"created": "yesterday"}, "created"),
        ({"created": "2026-01-01T00:00:00"}, "created"),
        ({"status": Status.FAILED}, "error"),
        ({"error": "it broke"}, "error"),
        ({"accuracy": 1.0}, "accuracy"),
    ],
)
def test_a_row_refuses(columns: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        row(**columns)


def test_a_row_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        row().aa = 50.0


def test_own_and_older_versions_are_read() -> None:
    check_schema_version(SCHEMA_VERSION, "runs")
    check_schema_version(SCHEMA_VERSION - 1, "runs")


def test_a_newer_version_is_refused_with_place_versions_and_remedy() -> None:
    with pytest.raises(BenchError) as caught:
        check_schema_version(SCHEMA_VERSION + 1, "runs")

    for part in ("'runs'", f"version {SCHEMA_VERSION + 1}", f"up to {SCHEMA_VERSION}", "upgrade", "another folder"):
        assert part in str(caught.value)


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'pyarrow'}"
    code = f"import sys, bench.schema; sys.exit(len({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
