"""Model + data -> a trained checkpoint: the parts that train.py puts together."""
