"""Which is better: choosing hyper-parameters, and comparing algorithms."""
