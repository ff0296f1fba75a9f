"""Whether the code still gives the numbers that it gave: a short sweep run again and held against stored rows."""
