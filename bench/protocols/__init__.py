"""How an encoder is judged: head recipes and attacks as versioned data, and the fitting of heads."""
