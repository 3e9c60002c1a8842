"""The contenders of benchmarks.peers: one module each, run as a separate process."""
