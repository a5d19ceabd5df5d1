"""Tables of the worlds whose mutual information is known."""

import pyarrow as pa

from vialign.tables.schema import Column, Table, category, number, whole

THEORY_WORLDS = ("gaussian", "shared noise", "combination", "blind")


THEORY_MEASURES = (
    "consistency",
    "consistency random",
    "consistency own",
    "consistency auc random",
    "consistency auc exchanged",
    "agreement",
    "agreement random",
    "agreement auc random",
    "agreement auc exchanged",
    "s_global",
    "s_local",
    "infonce",
    "infonce s_global",
    "infonce s_local",
    "infonce ceiling",
)


THEORY = Table(
    "theory",
    world=category(THEORY_WORLDS, "world with known mutual information (docs/theory.md)", key=True),
    parameter=Column(pa.float64(), "correlation of parts and phrases, or error of the relation", key=True),
    mutual_information=number("of image and caption, nats, known exactly", low=0),
    measure=category(
        THEORY_MEASURES,
        "mean over aligned pairs, calibrated; `random`: over pairs with the caption of another; `own`: calibrated at "
        "this level of information alone; `auc`: aligned against those or against exchanged roles; `infonce`: bound of "
        "the best critic or of one similarity, nats, and its ceiling, the log of the pairs in a batch",
        key=True,
    ),
    value=number("mean over drawings of the world"),
    low=number("lower end of its interval over drawings"),
    high=number("upper end"),
    seeds=whole("drawings", low=2),
)


THEORY_TRENDS = Table(
    "theory_trends",
    world=category(THEORY_WORLDS, "world with known mutual information", key=True),
    measure=category(THEORY_MEASURES, "as in `theory`", key=True),
    correlation=number(
        "Spearman's rank correlation of the measure with mutual information over the world's levels, mean over "
        "drawings; missing where the measure never changes",
        low=-1,
        high=1,
        optional=True,
    ),
    low=number("lower end of its interval over drawings", low=-1, high=1, optional=True),
    high=number("upper end", low=-1, high=1, optional=True),
    change=number("the measure at most information minus at least"),
    change_low=number("lower end of its interval over drawings"),
    change_high=number("upper end"),
    seeds=whole("drawings", low=2),
)
