"""Trained networks as one file for other programs: ONNX, SavedModel or Keras' own format."""
