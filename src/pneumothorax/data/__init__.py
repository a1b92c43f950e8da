"""What lies on disk, turned into arrays; knows nothing of networks."""
