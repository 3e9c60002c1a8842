"""Who takes part in benchmarks.peers: a module each, run as a process of its own."""
