"""The papers' tables and figures by name: what to run for each, and how its result is shown."""
