"""How much of a number's variance comes from which seeds: `bench noise`."""
