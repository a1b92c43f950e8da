"""A trained run as a model of Kaggle or Hugging Face: card, weights, ONNX file, recipe and rule; no image."""
