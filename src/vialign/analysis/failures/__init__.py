"""Failed queries: their class, their rates, and their review by people."""
