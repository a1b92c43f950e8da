"""The competition's files: download, check and unpack."""
