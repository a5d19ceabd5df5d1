"""Readers of a detector's regions."""
