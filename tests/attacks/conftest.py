"""What the tests of attacks share."""

from __future__ import annotations

from typing import Any

import pyautoattack
import pytest


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same four attacks with fewer iterations, so that a test takes no minute."""
    init = pyautoattack.AutoAttack.__init__

    def shortened(self: pyautoattack.AutoAttack, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 12
        self.apgd.n_restarts = 1
        self.square.n_queries = 30

    monkeypatch.setattr(pyautoattack.AutoAttack, "__init__", shortened)
