"""Readers of published test benchmarks, one module a format."""
