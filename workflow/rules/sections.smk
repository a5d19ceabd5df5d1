# The declared config sections of every rule as input files, so that a change is seen by `--rerun-triggers mtime` too.
# Included last, because it adds to the rules that there are.
SCRATCH = tempfile.TemporaryDirectory(prefix="vialign-")


def writing_run():
    """Whether this process starts jobs for good: no dry run, no listing, and no job of another process."""
    started = workflow.executor_plugin is not None and not workflow.dryrun
    return started and workflow.is_main_process


@functools.cache
def begin():
    """Hold the results folder until this process ends, and clear away what a killed run left in it."""
    try:
        held = lock_results(RESULTS)
    except UserError as error:
        sys.exit(f"vialign: {error}")
    remove_stale_parts(Path(RESULTS), below=True)
    if held:
        remove_stale_locks(".snakemake/locks", RESULTS)


@functools.cache
def stamp(name):
    """The file of a section. Only a run for good writes it; where it says something else, others get one of their own.

    A job of another process takes what that process has written; on a machine of its own it writes what is missing.
    """
    path = stamp_path(RESULTS, name)
    if writing_run():
        begin()
    if writing_run() or (not workflow.is_main_process and not os.path.exists(path)):
        write_stamp(CONFIG_TREE, name, path)
    elif workflow.is_main_process and not same_stamp(CONFIG_TREE, name, path):
        path = stamp_path(SCRATCH.name, name)
        write_stamp(CONFIG_TREE, name, path)
    return path


def stamps(names):
    """Input function: the files of these sections, which no storage of a cluster is asked for.

    Whichever is asked first writes the files of all, since Snakemake lists a folder once while it plans, and what comes
    into it later is missing to it.
    """

    def listed(wildcards):
        for name in DECLARED:
            stamp(name)
        return local([stamp(name) for name in names])

    return listed


def own_backbone(rule_):
    """The weights that this run trains itself, as an input of each rule that reads them, so that they are made first."""
    made, checkpoint = (
        f"{RESULTS}/backbone/{DEMO}.safetensors",
        CONFIG.backbone.checkpoint,
    )
    if checkpoint is None or os.path.normpath(checkpoint) != os.path.normpath(made):
        return {}
    reads = "backbone" in rule_.params.config and rule_.name != "pretrain_backbone"
    return {"own_backbone": lambda wildcards: made} if reads else {}


DECLARED = sorted(
    {name for rule_ in workflow.rules for name in rule_.params.get("config") or []}
)
for declaring in workflow.rules:
    if declaring.params.get("config"):
        declaring.set_input(
            config=stamps(sorted(declaring.params.config)), **own_backbone(declaring)
        )
