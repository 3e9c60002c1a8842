"""Training in a cluster: its tasks, and the all-reduce between them."""
