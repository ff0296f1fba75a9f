"""How a limit is written."""

from __future__ import annotations

import pytest

from bench.data.limits import Limit
from bench.errors import BenchError


@pytest.mark.parametrize(
    ("text", "limit", "canonical"),
    [
        ("200", Limit(200, 200), "train=200,test=200"),
        ("train=200,test=50", Limit(200, 50), "train=200,test=50"),
        (" test = 50 , train = 200 ", Limit(200, 50), "train=200,test=50"),
        ("train=200", Limit(200, None), "train=200"),
        ("test=50", Limit(None, 50), "test=50"),
    ],
)
def test_spellings(text: str, limit: Limit, canonical: str) -> None:
    assert Limit.parse(text) == limit
    assert limit.text == canonical
    assert Limit.parse(canonical) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the limit ''; write a number"),
        ("many", "unknown split in the limit 'many'"),
        ("trian=5", "did you mean 'train'"),
        ("train=", "cannot read the limit 'train='"),
        ("train=1.5", "cannot read the limit"),
        ("train=5,train=6", "cannot read the limit"),
        ("0", "leaves no image"),
        ("train=-5", "limit train=-5 leaves no image"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(BenchError) as caught:
        Limit.parse(text)
    assert message in str(caught.value)
