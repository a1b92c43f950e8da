"""A small artificial competition with radiographs of its own, in the real one's exact format."""

from pneumothorax.phantom.competition import make_competition

__all__ = ["make_competition"]
