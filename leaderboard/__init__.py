"""Rows read back, compared, tested and printed."""
