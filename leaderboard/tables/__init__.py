"""One table model, built from rows and printed in every format: `bench table`."""
