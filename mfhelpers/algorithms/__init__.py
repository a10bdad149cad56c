"""How it is trained: one loop, and each algorithm as its arithmetic."""
