"""Networks: residual encoders with named batch-norm routes, and the heads that contrastive losses see."""
