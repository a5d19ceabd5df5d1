"""Phases 1 and 2: diagnosis, probe, stress test and the verdict of the signal gate."""
