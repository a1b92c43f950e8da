"""Arrays -> probabilities: the network, its losses and its metrics; knows nothing of files but weights."""
