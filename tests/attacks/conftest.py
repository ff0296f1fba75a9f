"""What the tests of attacks share."""

from __future__ import annotations

import pyautoattack
import pytest


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same four attacks with fewer iterations, so that a test takes no minute."""
    set_version = pyautoattack.AutoAttack._set_version

    def shortened(self: pyautoattack.AutoAttack, version: str) -> None:
        set_version(self, version)
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 12
        self.square.n_queries = 30

    monkeypatch.setattr(pyautoattack.AutoAttack, "_set_version", shortened)
