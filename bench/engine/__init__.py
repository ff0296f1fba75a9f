"""The training loop and what it steps with: optimisers and learning rates."""
