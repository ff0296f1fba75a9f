"""Results of several machines in one store."""
