"""Kaggle: download, notebooks and submissions."""

COMPETITION = "siim-acr-pneumothorax-segmentation"
KERNELS = ("train", "submit", "explore")  # folders below kernels/
# Where Kaggle's users put the training images; the competition itself no longer holds any.
SOURCES = {
    "jesperdramsch": "jesperdramsch/siim-acr-pneumothorax-segmentation-data",
    "vbookshelf": "vbookshelf/pneumothorax-chest-xray-images-and-masks",
}
