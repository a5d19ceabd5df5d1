"""Files: where they may lie, how they are opened, written, checked and locked."""
