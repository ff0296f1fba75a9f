"""What leaves the store in a form that others can use."""
