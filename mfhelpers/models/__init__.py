"""What is trained: factors, PyTorch modules, the penalty, and how far predictions are off."""
