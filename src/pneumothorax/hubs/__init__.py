"""Published models: their addresses on Kaggle and Hugging Face, their list of files, and their download."""
