"""`vialign budget`: what a method costs and whether it keeps the budget, without a run (docs/budget.md)."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vialign.catalogue import REGION_METHODS
from vialign.cli.errors import one_line_errors
from vialign.cli.options import Count, Files, Json
from vialign.cli.printing import json_rows, print_object
from vialign.config.experiment import Config, digest, read_config
from vialign.errors import UserError, one_line
from vialign.files.paths import Output, check_paths

if TYPE_CHECKING:
    import pandas as pd

Share = Annotated[float, typer.Option(min=0, max=1, help="Share of captions that `vialign` hands to its parser.")]


@dataclass(frozen=True)
class Largest:
    """The largest size of a method that the limit on parameters allows."""

    sized: str
    """What has that size, such as a value of the configuration."""
    size: int
    parameters_extra: int
    limit: float
    """Share of the backbone's parameters."""

    def __str__(self) -> str:
        limit = f"{100 * self.limit:g} %"
        return (
            f"largest {self.sized} inside the budget ({limit}): {self.size}, {self.parameters_extra:,} extra parameters"
        )


def budget(
    model: Annotated[str, typer.Argument(help="A method (vialign, lora, ...) or package.module:factory.")],
    files: Files,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write: the table BUDGET.")] = None,
    size: Annotated[bool, typer.Option("--size", help="Also the largest rank that the budget allows.")] = False,
    batch: Count = None,
    rounds: Count = None,
    parsed: Share = 1.0,
    pipeline: Annotated[Path | None, typer.Option(help="Parser to time, such as results/language/pipeline.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the ledger of a method at the size of a config's backbone, with random weights.

    A factory takes the config and returns a `vialign.budget.ModulePair`. Exit status 0 whatever the verdict is.

    Example: `vialign budget vialign configs/vit_b_32.yaml --size`
    """
    with one_line_errors():
        outputs = [] if out is None else [Output("--out", out)]
        check_paths(outputs, {"--pipeline": pipeline} | {f"CONFIG {file}": file for file in files})
        import torch

        from vialign.budget import ledger_text
        from vialign.files.artifacts import write_table
        from vialign.tables.gates import BUDGET

        config = read_config(*files)
        if ":" in model:
            with _code_of_the_user(model):
                ledger, sized = _of_pair(model, config, rounds, size)
        else:
            ledger, sized = _of_method(model, config, batch, rounds, parsed, pipeline, size)
        regions = config.data.region_limit if model in REGION_METHODS else None
        if out is not None:
            versions = {"torch": torch.__version__}
            about = {"rule": "vialign budget", "model": model, "config": digest(config), "seed": str(config.seed)}
            write_table(ledger, BUDGET, out, {**about, **versions})
        if as_json:
            largest = None if sized is None else asdict(sized)
            print_object({"ledger": json_rows(ledger), "largest": largest, "regions_drawn": regions})
            return
        print(ledger_text(ledger))
        if regions is not None:
            print(f"  regions     {regions} an image, drawn; what finds them is not measured")
        if sized is not None:
            print(f"\n{sized}")
        if out is not None:
            print(f"{out}: written")


def _of_pair(model: str, config: Config, rounds: int | None, size: bool) -> tuple["pd.DataFrame", Largest | None]:
    from vialign.budget import ModulePair, largest_pair_rank, measure_pair

    pair = load_factory(model)(config)
    if not isinstance(pair, ModulePair):
        raise UserError(f"{model}: returned {type(pair).__name__}; it must return a vialign.budget.ModulePair")
    ledger = measure_pair(
        pair,
        name=model.partition(":")[2],
        backbone=type(pair.reference).__name__,
        rounds=rounds or config.budget.rounds,
        limits=config.budget,
        seed=config.seed,
    )
    if not size:
        return ledger, None
    if pair.at_rank is None:
        raise UserError(f"{model}: its ModulePair has no at_rank, so --size does not know what a rank is")
    rank, extra = largest_pair_rank(pair, config.budget, range(1, 4097))
    return ledger, Largest("rank", rank, extra, config.budget.parameters)


def _of_method(
    model: str,
    config: Config,
    batch: int | None,
    rounds: int | None,
    parsed: float,
    pipeline: Path | None,
    size: bool,
) -> tuple["pd.DataFrame", Largest | None]:
    from vialign.catalogue import METHODS
    from vialign.training.standalone import find_nlp, largest_allowed, measure_alone, random_backbone

    if model not in METHODS:
        raise UserError(f"budget: no method {model!r}; there are {', '.join(METHODS)}, and package.module:factory")
    backbone = random_backbone(config)
    nlp = find_nlp(model, config, pipeline)
    sized = None
    if size:
        value, rank, extra = largest_allowed(model, config, backbone, nlp)
        sized = Largest(value, rank, extra, config.budget.parameters)
    ledger = measure_alone(model, config, backbone, nlp, parsed=parsed, batch=batch, rounds=rounds)
    return ledger, sized


@contextmanager
def _code_of_the_user(name: str) -> Iterator[None]:
    """Whatever the user's own modules raise, or end with, is the user's error: its kind, its words and where it was."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {one_line(error)} ({last.filename}, line {last.lineno})"
        raise UserError(f"{name}: failed with {said}; correct it, VIALIGN_TRACEBACK=1 shows the traceback") from error


def load_factory(name: str) -> Callable[[Config], object]:
    """The function that `package.module:function` names, looked for in the current folder too.

    Raises UserError when there is no such module or function.
    """
    module, _, function = name.partition(":")
    if not all(map(str.isidentifier, [*module.split("."), function])):
        raise UserError(f"{name}: is no package.module:factory; write the module, a colon and the name of its function")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Callable[[Config], object] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise UserError(f"{name}: no module {error.name!r}; run this where it can be imported") from None
    except AttributeError:
        raise UserError(f"{name}: module {module} has no function {function!r}") from None
    if not callable(found):
        raise UserError(f"{name}: is {type(found).__name__}, no function; it must return a vialign.budget.ModulePair")
    return found
