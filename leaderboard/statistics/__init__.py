"""What seeds and test images can tell from noise: tests, intervals, effects, and families adjusted together."""
