"""Encoders that segmentation-models lacks, and where ImageNet weights come from."""
