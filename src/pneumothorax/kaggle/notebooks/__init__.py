"""Notebooks: built from sources, pushed, run in a Kaggle session, downloaded."""
