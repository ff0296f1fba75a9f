"""How fast a training step is, and how fast the hardware would let it be."""
