"""Training in a cluster: several tasks take every step together, by all-reduce.

Each task holds the whole net and runs the same `train.train` on its own part of every batch. One
operation in the step averages their gradients, so all of them apply the same update, and their
variables stay identical, bit for bit.
"""
