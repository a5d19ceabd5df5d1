"""The typed configuration, one module a part of the pipeline."""
