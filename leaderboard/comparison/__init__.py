"""Two methods, cells or protocols compared in words: `bench compare`."""
