"""Numbers that ship with the package: `published`, the literature's; `reference`, what `bench regress` holds to."""
