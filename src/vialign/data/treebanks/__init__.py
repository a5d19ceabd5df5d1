"""Readers of treebanks."""
