"""Published numbers as data, which rows answer them, and the statistical verdict on each: `bench claims`."""
