"""Measured and published numbers that ship with the package."""
