"""Everything shown about a run: in the terminal, in TensorBoard, as figures."""
