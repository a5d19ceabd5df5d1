"""What carries a gain: the method trained again with its driver, or its local part, replaced by something else."""
