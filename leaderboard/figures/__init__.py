"""Figures: what they hold (`model`), how they look (`palette`, `draw`), where they go (`write`), a module per kind."""
