"""One training step and one evaluation, from a batch of images to the net's new weights."""
