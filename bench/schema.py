"""The result row: every column, its type and its meaning. Imports neither torch, pandas nor pyarrow."""

from __future__ import annotations

import json
from enum import StrEnum
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from bench.errors import BenchError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"


def _parses(text: str) -> str:
    json.loads(text)
    return text


_INSTANT: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)


def _is_instant(text: str) -> str:
    _INSTANT.validate_python(text)
    return text


Json = Annotated[str, AfterValidator(_parses)]
"""JSON text, as `bench.keys.canonical` writes it."""
Instant = Annotated[str, AfterValidator(_is_instant)]
"""ISO 8601 time with its zone."""
Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """One finished cell. Null means not measured or not known, never zero; the text under a field is its documentation.

    Raises:
        pydantic.ValidationError: for a value out of range, an unknown column, or a status that contradicts `error`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    schema_version: int = SCHEMA_VERSION
    """Version of this list of columns."""

    # Which cell, and how it ended.
    cell: str
    """Identity of the cell: what was measured on what, whatever code did it."""
    status: Status
    """`ok`, or `failed` with `error`; a failed cell keeps the metrics it reached."""
    error: str | None = None
    """Why it failed, in one paragraph; null exactly where `status` is `ok`."""
    log: str | None = None
    """File of the full traceback, relative to the store."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """How often the cell was tried, this time included."""

    # What was asked for.
    method: str
    """Canonical name of the method."""
    config: Json
    """Its resolved settings, canonical JSON."""
    label: str
    """How tables call it: `ncp`, or `ncp[neighbour=3]` where the user set something."""
    dataset: str
    """Source of the evaluation data, as canonical text."""
    dataset_like: str
    """The data set whose paper settings, stem and normalisation apply."""
    pretrain_data: str
    """Source of the pre-training images, as canonical text; equal to `dataset` where they are its own."""
    schedule: str
    """`quick`, `short` or `paper`."""
    epochs: int | None = None
    """Pre-training epochs asked for with `--epochs`; null where the schedule's own lengths apply (see `config`)."""
    budget: float | None = None
    """Encoder passes per pre-training image asked for with `--budget`; null where the schedule's lengths apply."""
    passes: float | None = None
    """Encoder passes per pre-training image over the run, upstreams included; null where a method does not say."""
    limit_train: int | None = None
    """Training images kept by `--limit`; null = all."""
    limit_test: int | None = None
    """Test images kept by `--limit`; null = all."""
    limited: bool = False
    """Whether either limit is set: such rows never mix with full ones."""
    seed_pretrain: int
    """Seed of pre-training and of all upstream stages."""
    seed_head: int
    """Seed of the head."""
    seed_attack: int
    """Seed of the attacks."""

    # How it was judged.
    protocol: str
    """Name of the protocol, with its version: `slf-1`."""
    protocol_hash: str
    """Hash of the protocol's data."""
    legacy: bool = False
    """Whether the protocol re-creates a paper's own recipe."""
    external_data: bool = False
    """Whether anything saw images or weights from outside the pre-training pool."""
    labelled_pretraining: bool = False
    """Whether pre-training saw labels."""
    norm: str = "Linf"
    """Norm of the attack budget."""
    eps: Annotated[float, Field(ge=0)]
    """Attack budget, in units of [0, 1] pixels."""
    test_images: Count | None = None
    """Images that were scored."""
    train_images: Count | None = None
    """Labelled images that the head was fitted on."""

    # The numbers.
    sa: Percent | None = None
    """Standard accuracy, per cent of the test images."""
    ra_pgd20: Percent | None = None
    """Accuracy under PGD-20 with step eps/4 (2/255 at eps 8/255), per cent."""
    pgd20: Percent | None = None
    """Accuracy under PGD-20 with step eps/10 (legacy protocols alone), per cent."""
    aa: Percent | None = None
    """Accuracy under AutoAttack standard on all test images, per cent."""
    corruption: Percent | None = None
    """Mean accuracy over 15 types and 5 severities of corrupted test images, per cent."""
    corruption_19: Percent | None = None
    """Mean accuracy over 19 types and 5 severities of corrupted test images, per cent."""
    scores: Json = "{}"
    """Attack name (`bench list attacks`) to the accuracy under it, those with a column too, per cent, JSON object."""
    ra_worst: Percent | None = None
    """Images that stay correct under every attack in `worst_over`, per cent: the mean of each image's minimum."""
    worst_over: Json = "[]"
    """Names of the attacks that `ra_worst` is the union of, `clean` among them, JSON list."""
    head_rate: float | None = None
    """Learning rate of the head."""
    head_rate_at_edge: bool | None = None
    """Whether that rate was the smallest or largest of the grid."""

    # Where the parts lie.
    pretrain_key: str | None = None
    """Stage key of the encoder."""
    head_key: str | None = None
    """Stage key of the head."""
    outcomes: Json = "{}"
    """Attack name to the stage key of its per-image outcomes, JSON object."""
    audits: Json = "[]"
    """Stage keys of the gates that were measured, JSON list."""

    # Whether to believe the numbers.
    gates: Json = "{}"
    """Gate name to its verdict (`ok`, `warn`, `fail`, `not run`), number, threshold, unit and detail, JSON object."""
    gate_verdict: str | None = None
    """The gravest verdict of its gates: `ok`, `warn` or `fail`; null where none was measured."""

    # Where it comes from.
    harness_version: str
    """Version of this package."""
    commit: str | None = None
    """Git commit of the source tree, `+dirty` where files differ from it."""
    plugin: str
    """Where the method was found: a module, an entry point or a file."""
    plugin_hash: str
    """Hash of the method's source closure."""
    context_torch: str | None = None
    """Version of torch."""
    context_cuda: str | None = None
    """Version of CUDA; null on the CPU."""
    context_device: str | None = None
    """Model of the CPU or GPU."""
    context_python: str | None = None
    """Version of Python."""
    context_platform: str | None = None
    """Operating system and architecture."""
    context_threads: int | None = None
    """CPU threads of the process."""
    context_memory_format: str | None = None
    """`contiguous` or `channels_last`."""
    context_deterministic: bool | None = None
    """Whether torch's deterministic mode was on."""
    context_execution: str | None = None
    """How the steps of pre-training were carried out: `eager`, `graph` or `compiled`."""
    data_fingerprint: str | None = None
    """Content hash of the evaluation data."""
    pool_fingerprint: str | None = None
    """Content hash of the pre-training images."""
    precision: str = "fp32"
    """Floating-point type of the scoring."""

    # What it cost, and what to know of it.
    seconds_pretrain: Seconds | None = None
    """Wall time of the pre-training stage, when it was computed."""
    seconds_head: Seconds | None = None
    """Wall time of the head."""
    seconds_attack: Seconds | None = None
    """Wall time of all attacks together."""
    peak_memory_mb: Annotated[float, Field(ge=0)] | None = None
    """Largest memory of any of its stages, MiB; of the device on a GPU, else of the process."""
    warnings: Json = "[]"
    """What looked odd while it ran, JSON list of sentences."""
    footnotes: Json = "[]"
    """What a reader of the number must know, JSON list of sentences; tables print them."""
    created: Instant
    """When the row was written, ISO 8601, UTC."""

    @model_validator(mode="after")
    def _status_agrees(self) -> Self:
        if (self.status is Status.FAILED) != (self.error is not None):
            raise ValueError("`error` is given exactly where `status` is `failed`")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Column name to plain value, in the order of `arrow_schema()`."""
        return self.model_dump(mode="json")


def arrow_schema() -> pa.Schema:
    """The Parquet columns in the order of `Row`, each with its documentation as metadata `doc`."""
    import pyarrow as pa

    arrow = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_(), Status: pa.string()}

    def column(name: str) -> pa.Field:
        field = Row.model_fields[name]
        plain, nullable = _plain_type(field.annotation)
        return pa.field(name, arrow[plain], nullable, {"doc": field.description or ""})

    return pa.schema([column(name) for name in Row.model_fields], {"schema_version": str(SCHEMA_VERSION)})


def _plain_type(annotation: Any) -> tuple[type, bool]:
    """The bare type under `Annotated[T, ...] | None`, and whether null is allowed."""
    options = get_args(annotation) or (annotation,)
    nullable = NoneType in options
    bare = next(option for option in options if option is not NoneType)
    while hasattr(bare, "__metadata__"):
        bare = get_args(bare)[0]
    return bare, nullable


def check_schema_version(version: int, where: str) -> None:
    """Refuse what a newer acl-bench wrote: its columns may mean something else.

    Raises:
        BenchError: naming the place, both versions and the remedy.
    """
    if version > SCHEMA_VERSION:
        raise BenchError(
            f"'{where}' was written with schema version {version}, but this acl-bench reads versions up to "
            f"{SCHEMA_VERSION}: upgrade it (pip install --upgrade acl-bench), or name another folder."
        )
