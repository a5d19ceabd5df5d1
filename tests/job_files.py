"""The inputs and outputs of a job, for tests that call what its script calls."""


class Files(dict):
    """Named files as Snakemake hands them to a script: by attribute and by name."""

    __getattr__ = dict.__getitem__
