"""What stands behind the numbers: failure classes and the ablation path."""
