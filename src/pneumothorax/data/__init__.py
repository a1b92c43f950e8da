"""From files on disk to arrays; knows nothing of networks."""
