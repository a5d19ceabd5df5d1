"""Benchmarks, paired statistics, and the checks that decide whether their numbers count."""
