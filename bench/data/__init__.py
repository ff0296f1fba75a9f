"""Where images come from, and how views of them are drawn."""
