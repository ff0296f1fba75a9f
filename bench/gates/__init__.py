"""Gates: what a robust accuracy must withstand before it is believed."""
