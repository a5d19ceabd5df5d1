"""What is trained and compared: the objective, the curriculum's modules, the baselines, and what builds them."""
