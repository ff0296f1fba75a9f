"""The command line's small language: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.grammar import Grid, Spec, Value, canonical_name, expand, parse_spec, parse_specs


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ncp", ["ncp"]),
        (" ncp , amoc ", ["ncp", "amoc"]),
        ("ncp[neighbour=[2,3]],./mine.py:Mine[x=1],amoc", ["ncp", "./mine.py:Mine", "amoc"]),
        ("dynacl_pp,slf@ncp_bn", ["dynacl-pp", "slf@ncp-bn"]),
        ("parquet:/a b/c_d-e.f[like=cifar10]", ["parquet:/a b/c_d-e.f"]),
        ("./my_method.py", ["./my_method.py"]),
        ("'folder:/a,b[1]'[like=stl10],digits", ["folder:/a,b[1]", "digits"]),
        ("ncp[]", ["ncp"]),
    ],
)
def test_a_list_is_split_at_its_top_level(text: str, names: list[str]) -> None:
    assert [spec.name for spec in parse_specs(text)] == names


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-3", -3),
        ("5.0", 5.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("8/255", 8 / 255),
        ("4/2", 2.0),
        ("1/0", "1/0"),
        ("true", True),
        ("False", False),
        ("none", None),
        ("paper", "paper"),
        ("two words", "two words"),
        ("./a-b_c.py:D", "./a-b_c.py:D"),
        ("'a,b]'", "a,b]"),
        ('"5"', "5"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ("''", ""),
        ("(10,60,5)", (10, 60, 5)),
        ("(1,)", (1,)),
        ("()", ()),
        ("((1, a), none)", ((1, "a"), None)),
        ("[2,3]", Grid((2, 3))),
        ("[ (1,2), (3,4) ]", Grid(((1, 2), (3, 4)))),
    ],
)
def test_values(written: str, value: Value | Grid) -> None:
    found = parse_spec(f"ncp[x={written}]").options["x"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ncp", "ncp"),
        ("n_c_p[ b = 2 , a-a = 1e-1 ]", "n-c-p[a_a=0.1,b=2]"),
        ("ncp[x=[3,2]]", "ncp[x=[3,2]]"),
        ("ncp[x=( 1, 'a b' )]", "ncp[x=(1,a b)]"),
        ("ncp[x='true',y=TRUE]", 'ncp[x="true",y=true]'),
        ("ncp[x='8/255']", 'ncp[x="8/255"]'),
        ("'plain'", "plain"),
        ("parquet:/a_b[like=cifar10]", "parquet:/a_b[like=cifar10]"),
    ],
)
def test_there_is_one_canonical_spelling(text: str, canonical: str) -> None:
    assert parse_spec(text).text == canonical


def test_expand_is_the_product_in_the_order_written() -> None:
    spec = parse_spec("ncp[b=[2,1],c=(5,6),a=[x,y]]")
    assert [dict(point.options) for point in expand(spec)] == [
        {"b": 2, "c": (5, 6), "a": "x"},
        {"b": 2, "c": (5, 6), "a": "y"},
        {"b": 1, "c": (5, 6), "a": "x"},
        {"b": 1, "c": (5, 6), "a": "y"},
    ]


def test_a_spec_without_a_grid_expands_to_itself() -> None:
    spec = parse_spec("ncp[c=(5,6)]")
    assert expand(spec) == (spec,)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "at its end", "a name is missing"),
        ("ncp,", "at its end", "a name is missing"),
        (",ncp", "character 1", "a name is missing"),
        ("[x=1]", "character 1", "a name is missing"),
        ("ncp[x=1", "character 4, before '[x=1'", "never closed; add a ']'"),
        ("ncp[x=[1,2]", "character 4", "never closed; add a ']'"),
        ("ncp[x=[1,2", "character 7, before '[1,2'", "never closed; add a ']'"),
        ("ncp[x=(1,2]", "character 11", "expected ',' or ')'"),
        ("ncp[x=1]]", "character 9, before ']'", "closes nothing"),
        ("ncp]", "character 4", "closes nothing"),
        ("ncp[x=1]amoc", "character 9, before 'amoc'", "expected ','"),
        ("ncp[x]", "character 5", "write x=VALUE"),
        ("ncp[=1]", "character 5", "option's name is missing"),
        ("ncp[x=1,,y=2]", "character 9", "option's name is missing"),
        ("ncp[x=]", "character 7", "a value is missing"),
        ("ncp[x=1=2]", "character 8", "expected ',' or ']'"),
        ("ncp[x=1,x=2]", "character 9, before 'x=2]'", "'x' is given twice"),
        ("ncp[a-b=1,a_b=2]", "character 11", "'a_b' is given twice"),
        ("ncp[x='a]", "character 7", "quote is never closed"),
        ("ncp[x=[]]", "character 7", "grid is empty"),
        ("ncp[x=[2,2]]", "character 7", "a value twice"),
        ("ncp[x=[1,[2]]]", "character 10", "cannot stand inside another value"),
        ("ncp[x=(1,[2])]", "character 10", "cannot stand inside another value"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text: str, place: str, reason: str) -> None:
    with pytest.raises(BenchError) as caught:
        parse_specs(text)
    assert f"'{text}'" in str(caught.value)
    assert place in str(caught.value)
    assert reason in str(caught.value)


def test_one_spec_is_one() -> None:
    with pytest.raises(BenchError, match="names 2 things where one is expected"):
        parse_spec("ncp,amoc")


SCALARS = st.one_of(
    st.text(),
    st.sampled_from(["true", "5", "1/2", "a b"]),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
GRIDS = st.lists(VALUES, min_size=1, max_size=3, unique_by=repr).map(lambda values: Grid(tuple(values)))
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
NAMES = st.text(min_size=1).map(canonical_name)
SPECS = st.builds(Spec, NAMES, st.dictionaries(KEYS, st.one_of(VALUES, GRIDS), max_size=3))


@settings(deadline=None, derandomize=True)
@given(st.lists(SPECS, min_size=1, max_size=3))
def test_the_canonical_spelling_reads_back(specs: list[Spec]) -> None:
    read = parse_specs(",".join(spec.text for spec in specs))
    assert list(read) == specs
    assert [spec.text for spec in read] == [spec.text for spec in specs]
