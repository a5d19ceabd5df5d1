"""One training loop for every method: batches, schedule, validation checks, checkpoints, and the method registry."""
