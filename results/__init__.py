"""Numbers that ship with the package: `reference` is what `bench regress` holds reruns against."""
