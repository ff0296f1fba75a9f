"""Numbers that ship with the package: those that the literature published."""
