"""Data sets: one reader a public format, the embedded Scenes world, the registry."""
