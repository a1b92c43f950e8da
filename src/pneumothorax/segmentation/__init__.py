"""Segment a user's own radiographs: files in, masks, overlays and a table out."""
