"""The table model in every format, a file for each. `formats` knows them all."""
