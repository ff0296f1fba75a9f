"""Where measured and published numbers will ship with the package; none are here yet."""
