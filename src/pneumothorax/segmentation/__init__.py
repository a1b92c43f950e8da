"""Radiographs of one's own: files in, masks, overlays and a table out."""
