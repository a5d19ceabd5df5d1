"""The method under test: curriculum modules driven by the consistency signal, each one removable."""
