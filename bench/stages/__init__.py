"""What a stage computes. Each module is the root of its key's source closure, so none of them knows the store."""
