"""Any model on any benchmark of the registry, without a run: the stages of the pipeline, one model at a time."""
