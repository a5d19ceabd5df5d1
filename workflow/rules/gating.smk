# What a run makes when: before the gates, beside them, and once they have let it go on.
def fetched(file):
    """Where a table that a checkpoint wrote lies on this machine; one of a storage is brought here first."""
    if file.is_storage and not os.path.exists(file) and file.storage_object.exists():
        os.makedirs(os.path.dirname(file), exist_ok=True)
        file.storage_object.retrieve_object()
    return str(file)


def stopped(checkpoint_output):
    """Whether the verdict table of a gate says that the pipeline stops there.

    While a gate is judged again its table is away, and Snakemake may still call it done: it is asked anew afterwards.
    """
    table = fetched(checkpoint_output[0])
    return os.path.exists(table) and gate_action(table) == "stop"


def chosen():
    """The combination that the ablation chose; known only after it has run."""
    return chosen_method(fetched(checkpoints.ablation.get().output.ablation))


def gates_passed():
    """Whether no gate stopped the run; each gate is asked only when the one before it let the run go on."""
    return not (
        stopped(checkpoints.signal_gate.get().output)
        or stopped(checkpoints.budget_gate.get().output)
        or stopped(checkpoints.early_gate.get().output)
    )


def prepared():
    """The theory, the ledger, and what every split that is read after the gates is encoded into. They ask nothing of the
    gates, so they are made while a stage before them keeps one core busy; a run that stops has made the splits and the
    ledger for nothing, which is little beside `train`.
    """
    return [*rules.theory.output, *rules.ledger.output] + [
        f"{RESULTS}/disentangle/{split}/encoded.safetensors"
        for split in SPLITS
        if split not in TUNING_SPLITS
    ]


def when_decided(make):
    """Input function of a target: what `make` lists, once every gate on the way, and the ablation, has decided.

    Snakemake looks no further into a job that waits for a checkpoint: while its own output lies there, a checkpoint
    that is still to be made is not. That is the report after a gate that stopped the last run and passes now. A target
    has no output, so what it waits for is made; therefore `all` waits for every gate beside the report.

    It asks for the ablation too: Snakemake resolves a checkpoint that is done already for the target that asks for it,
    but not for a job that only comes into being with that answer.
    """

    def listed(wildcards):
        if gates_passed():
            chosen()
        return make()

    return listed


def ahead(gates, make):
    """Input function of a target: what `make` lists once these gates, in their order, let the run go on. It asks nothing
    of the gates that follow, so it is made while one of them keeps one core busy.
    """

    def listed(wildcards):
        passed = all(
            not stopped(getattr(checkpoints, gate).get().output) for gate in gates
        )
        return make() if passed else []

    return listed


def baseline_search():
    """The rate of the early gate's reference, which the budget says nothing about."""
    return filled(rules.search_rate.output.search, method="lora")


def early_subsets():
    """The combinations that the ablation chooses from, as far as the early check: seconds each on stored features."""
    return filled(rules.train_early.output.outcomes, method=SUBSETS, seed=SEEDS)


def when_passed(make):
    """As `when_decided`, but nothing when a gate stopped the run."""
    return when_decided(lambda: make() if gates_passed() else [])
