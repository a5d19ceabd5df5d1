"""One training loop for every method: batches, schedule, selection checks, checkpoints, and the method registry."""
