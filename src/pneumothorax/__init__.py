"""Find collapsed lungs in chest radiographs: the SIIM-ACR Pneumothorax Segmentation kit."""

__version__ = "0.1.0"
