"""Side-by-side timing."""
