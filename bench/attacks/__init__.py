"""Attacks: inside training, and for judging an encoder."""
