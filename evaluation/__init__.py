"""Evaluation and inference: the net with a checkpoint's weights, in a graph of its own."""
