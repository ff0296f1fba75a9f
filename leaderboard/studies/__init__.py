"""What a figure or table needs of finished cells beyond their rows, computed from the stored networks when asked."""
