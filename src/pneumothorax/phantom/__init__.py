"""A small artificial competition in the real one's exact shape: its own radiographs, files and truth."""

from pneumothorax.phantom.competition import make_competition

__all__ = ["make_competition"]
