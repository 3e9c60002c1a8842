"""The front of train.py: from its flags to a plan, and from a plan to a run or an evaluation."""
