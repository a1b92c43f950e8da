"""Masks -> a CSV that Kaggle accepts; knows nothing of networks."""
