"""Running a plan's stages somewhere. Imports no torch by itself."""

from __future__ import annotations

from bench.executors.events import Event, Listener, StageState, Summary
from bench.executors.run import execute, warmed_up

__all__ = ["Event", "Listener", "StageState", "Summary", "execute", "warmed_up"]
