"""Recipe and cache -> a run folder."""
