"""A finished cell on its way to others: what was measured, with all that it takes to check it."""
