"""Encoders that segmentation-models lacks, and the sources of ImageNet weights."""
