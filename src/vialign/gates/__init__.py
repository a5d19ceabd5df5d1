"""What stops a run: the rule of every gate, and what was decided."""
