"""What several methods share: losses, clustering, memory banks, averaged networks."""
