"""What a method says of the disagreements between its paper and its released code."""

from __future__ import annotations

import re

import pytest
from tiny import registry

PLACE = re.compile(r"\.(py|sh)\b|README|[Tt]able \d|figure \d|\b[A-Z]?\.?\d\.\d|commit|issue \d|`")


@pytest.mark.parametrize("name", sorted({entry.name for entry in registry().entries}))
def test_a_dispute_is_about_a_setting_or_told_in_words_and_says_where(name: str) -> None:
    method = registry().find(name).load()
    for topic, told in method.DISPUTES.items():
        assert topic in method.Config.model_fields or " " in topic, topic
        assert PLACE.search(told), topic
