"""The consistency score: how it is computed, calibrated, and put to the test before anything is trained on it."""
