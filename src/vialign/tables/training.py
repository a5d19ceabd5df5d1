"""Tables of a training: its log, its search, its checks and its gradients."""

import pyarrow as pa

from vialign.tables.schema import (
    Column,
    Table,
    category,
    flag,
    key,
    number,
    number_key,
    similarity,
    unit_interval,
    whole,
)

TRAINING_LOG = Table(
    "training_log",
    step=number_key("optimiser step, from 1"),
    loss=number("total loss"),
    contrastive=number("symmetric contrastive term"),
    negative=number("hard-negative term"),
    regularisation=number("consistency regularisation"),
    learning_rate=number("learning rate"),
    gradient_norm=number("before clipping; missing where the step was left out (float16)", optional=True),
    seconds=number("time of the step", low=0),
)


SEARCH = Table(
    "search",
    method=key("method; `vialign` for all its subsets"),
    learning_rate=Column(pa.float64(), "candidate of its peak rate", low=0, key=True),
    seed=number_key("training seed"),
    steps=whole("optimiser steps of each candidate", low=1),
    recall=unit_interval(
        "mean any-hit R@1 of both directions on selection after them; missing where the training diverged",
        optional=True,
    ),
    negatives=unit_interval("accuracy against rule-made negatives, as in `monitor`", optional=True),
    score=unit_interval("mean of both, or recall alone without negatives: the selection metric", optional=True),
    chosen=flag("whether the method is trained with it: the best score, of equal ones the smallest rate"),
)


AVERAGES = Table(
    "averages",
    share=Column(pa.float64(), "of the tuned weights; the rest are the frozen ones", low=0, high=1, key=True),
    score=unit_interval("the selection metric of the average"),
    chosen=flag("whether the method is evaluated with it: the best score, of equal ones the first share"),
)


MONITOR = Table(
    "monitor",
    step=number_key("optimiser step"),
    recall=unit_interval("mean any-hit R@1 of both directions on selection"),
    negatives=unit_interval(
        "mean over selection captions of the share of their rule-made negatives that score lower", optional=True
    ),
    consistency_mean=number("mean C on aligned selection pairs", optional=True),
    consistency_sd=number("spread of C on aligned selection pairs", optional=True),
)


SIGNAL_MONITOR = Table(
    "signal_monitor",
    step=number_key("optimiser step of a light check, on a fixed part of the selection split"),
    recall=unit_interval("mean any-hit R@1 of both directions"),
    negatives=unit_interval("accuracy against rule-made negatives, as in `monitor`", optional=True),
    score=unit_interval("mean of both, or recall alone without negatives: the selection metric"),
    consistency_mean=number("mean C on aligned pairs"),
    consistency_sd=number("spread of C on aligned pairs"),
)


MONITORING = Table(
    "monitoring",
    method=key("method"),
    seed=number_key("training seed"),
    of=category(("level", "change"), "values at the checks, or their changes from check to check", key=True),
    step=number_key("optimiser step of the window's last check"),
    window=whole("checks in the window (for changes: changes)", low=1),
    correlation=number(
        "Spearman's rank correlation of mean C and selection metric; missing below the minimum of checks",
        low=-1,
        high=1,
        optional=True,
    ),
    low=number("lower end of its interval, simultaneous over the windows", low=-1, high=1, optional=True),
    high=number("upper end of its interval", low=-1, high=1, optional=True),
    band_low=number("lower end of what shuffled order gives, simultaneous", low=-1, high=1, optional=True),
    band_high=number("upper end of what shuffled order gives", low=-1, high=1, optional=True),
    warned=flag("whether the whole interval lies under 0"),
)


GRADIENT_TERMS = Table(
    "gradient_terms",
    method=key("method"),
    seed=number_key("training seed"),
    step=number_key("optimiser step of the checkpoint"),
    first=key("term of the loss"),
    second=key("another term of the loss"),
    cosine=similarity("mean over batches of the cosine between the gradients of both terms on one batch"),
    low=similarity("lower end of its interval over batches"),
    high=similarity("upper end of its interval over batches"),
    batches=whole("batches on which both gradients are not zero", low=1),
)


GRADIENT_SAMPLES = Table(
    "gradient_samples",
    method=key("method"),
    step=number_key("optimiser step of the checkpoint"),
    bin=number_key("group of samples by C, 0 the lowest"),
    consistency=number("mean C of the group"),
    cosine=similarity("mean cosine of a sample's gradient with the mean gradient of all other samples"),
    low=similarity("lower end of its interval over samples and seeds"),
    high=similarity("upper end of its interval over samples and seeds"),
    samples=whole("samples of all seeds in the group", low=1),
)


OPTIMISATION_PATH = Table(
    "optimisation_path",
    method=key("method"),
    seed=number_key("training seed"),
    step=number_key("optimiser step of the checkpoint"),
    first=number("coordinate of the weights along the path's first principal direction"),
    second=number("coordinate along the second"),
    first_share=unit_interval("share of the path's variance along the first direction"),
    second_share=unit_interval("share along the second"),
)
