"""Tables in Markdown of every method, for the docs and the command line; without torch."""

from collections.abc import Iterable

from vialign.catalogue import AVERAGED, BASELINES, CURRICULUM, FULL, LONG, METHODS

MARKS = ("<!-- made by `vialign methods`; `make schema` writes it anew -->", "<!-- end of methods -->")
"""Around the tables in docs/methods.md."""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def listing() -> str:
    """Tables in Markdown of every method."""
    baselines = [
        "| name | title | what is trained | paper | sizes | reads | told beyond images and captions |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in (*BASELINES.values(), *(METHODS[name] for name in LONG)):
        cells = (f"`{method.name}`", method.title, method.trains, method.paper)
        baselines.append(f"| {' | '.join((*cells, _listed(method.sizes), ', '.join(method.reads), method.told))} |")
    curriculum = ["| name | modules |", "| --- | --- |"]
    curriculum += [f"| `{name}` | {METHODS[name].trains} |" for name in CURRICULUM]
    averages = f"Averages of tuned and frozen weights (Wortsman et al. 2022, arXiv:2109.01903): {_listed(AVERAGED)}."
    heading = f"All methods of the curriculum read {', '.join(METHODS[FULL].reads)} and are told {METHODS[FULL].told}."
    return "\n".join(["", *baselines, "", averages, "", heading, "", *curriculum, "", ""])
