"""What a reader sees: progress, figures, widgets, TensorBoard. Knows nothing of ratings."""
