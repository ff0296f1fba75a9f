"""Material of figures from made rows, and what is asked of their panels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.store import Store
from leaderboard.figures.material import Material
from leaderboard.figures.model import Panel, Role, Series
from tests.leaderboard.made_rows import frame


def material(store: Store, *parts: Any, order: tuple[str, ...] = ()) -> Material:
    return Material.of(frame(*parts), store, "bench figure any", Path("data"), order)


def of_role(panel: Panel, role: Role) -> list[Series]:
    return [series for series in panel.series if series.role is role]


def places(series: Series) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in series.points]
