"""The model card of an exported folder: what it is, what was measured of it, what it costs, was told and cannot do."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from vialign.aligner.about import About, Cost, Measured
from vialign.catalogue import METHODS

Row = TypeVar("Row")
_PERCENT = {"parameters_extra_share", "inference_operations_overhead", "inference_overhead", "training_overhead"}
_CALLED = {
    "parameters_extra": "numbers stored beyond the backbone",
    "parameters_extra_share": "their share of the backbone, %",
    "inference_operations_overhead": "further operations at inference, %",
    "inference_overhead": "further time at inference, %",
    "training_overhead": "further time of a training step, %",
}
_SAID = {"go": "passed", "warn": "did not pass (the run went on, as its config says)", "stop": "stopped the run"}


def model_card(about: About, signal: bool) -> str:
    """`README.md` of the folder, in Markdown with the head that model hubs read."""
    method = METHODS[about.method]
    parts = [
        _head(about),
        f"# {method.title} on {about.contract['architecture']}",
        f"{method.title}: {method.meaning} {_trained(about)}",
        _use(about),
        _backbone(about),
        _table("Measured on the test splits, percent", about.measured, _measured_row, _MEASURED_HEAD),
        _remarks(about),
        _table("Costs", about.costs, _cost_row, ("what", "value", "measured on")),
        _supervision(about),
        _limits(about, signal),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


_MEASURED_HEAD = ("split/benchmark, measure", "this method", "95 % interval", "frozen backbone", "items", "seeds")


def _trained(about: About) -> str:
    if not about.name:
        return ""
    return f"Trained in the run *{_plain(about.name)}*" + (", and then trained on." if about.changed else ".")


def _head(about: About) -> str:
    return "---\nlibrary_name: vialign\ntags: [vialign, clip, image-text-retrieval]\n---"


def _use(about: About) -> str:
    return (
        '## Use\n```python\nimport vialign\n\naligner = vialign.load("FOLDER")\n'
        'aligner.score(["photo.jpg"], ["a dog on a sofa", "a sofa on a dog"])  # (1, 2)\n'
        'aligner.rank(["one.jpg", "two.jpg"], "a dog on a sofa")\n```'
    )


def _backbone(about: About) -> str:
    reference, contract = about.backbone, about.contract
    where = (
        f"`{reference.weights}` in this folder"
        if reference.weights
        else f"not in this folder; they are called `{reference.checkpoint}`"
        if reference.checkpoint
        else "not in this folder"
    )
    lines = [
        "## Backbone",
        f"`{contract['architecture']}`, frozen. Its weights are {where}. Another backbone is refused: its contract is",
        "",
        *(f"- {name}: `{_plain(value)}`" for name, value in sorted(contract.items())),
        f"- tensors: `{about.tensors}`",
    ]
    return "\n".join(lines)


def _measured_row(row: Measured) -> tuple[str, ...]:
    interval = "" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"
    frozen = "" if row.frozen is None else f"{100 * row.frozen:.1f}"
    return row.name, f"{100 * row.value:.1f}", interval, frozen, str(row.count), str(row.seeds)


def _remarks(about: About) -> str:
    lines = []
    if about.measured:
        lines.append(
            f"Numbers are means over the seeds of the run; this folder holds the training with seed {about.seed}, "
            "which was not chosen by them."
        )
    rule = about.trust
    if rule is not None:
        lines.append(
            f"How far a first answer is to be trusted was fitted on {rule.queries} queries of a gallery of "
            f"{rule.gallery} images, {100 * rule.wrong:.0f} % of them answered wrong; it tells wrong answers from "
            f"right ones with an AUROC of {rule.auroc:.2f} (cross-validated by image). In a larger gallery, or on "
            "other pictures, it is too sure of itself."
        )
    return " ".join(lines)


def _cost_row(row: Cost) -> tuple[str, ...]:
    factor = 100 if row.name in _PERCENT else 1
    shape = ".1f" if row.name in _PERCENT else ",.0f"
    value = f"{factor * row.value:{shape}}"
    if row.low is not None and row.high is not None:
        value += f" ({factor * row.low:{shape}} to {factor * row.high:{shape}})"
    return _CALLED[row.name], value, row.backbone


def _supervision(about: About) -> str:
    told = METHODS[about.method].told
    said = f"It was told images with their captions{f' and {told}' if told else ' and nothing more'}."
    return f"## Supervision\n{said} Its text tower, image tower and their training data are the backbone's."


def _limits(about: About, signal: bool) -> str:
    lines = ["## Limits", "- It ranks and compares; its scores are no probabilities, and no two methods share a scale."]
    for gate, action in about.gates.items():
        lines.append(f"- The {gate} gate of its run {_SAID.get(action, action)}.")
    if about.changed:
        lines.append(
            "- Nothing was measured of it: it was trained on after its run, whose numbers, costs and trust do not "
            "belong to these weights and are left out."
        )
    elif not about.measured:
        lines.append("- Nothing was measured of it: it was saved from memory, or its run was not compared.")
    if signal:
        lines.append(
            "- Phrases are found by a small parser that was trained for the captions of the run; on other text it "
            "reads worse, and what hangs on phrases with it."
        )
    lines.append("- It has the biases of the backbone, and no safeguard of its own.")
    return "\n".join(lines)


def _table(title: str, rows: Sequence[Row], cells: Callable[[Row], tuple[str, ...]], head: tuple[str, ...]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *map(cells, rows)]
    return f"## {title}\n" + "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(text: str) -> str:
    """Text that changes nothing in the Markdown around it."""
    return " ".join(text.replace("|", "/").replace("`", "'").replace("<", "&lt;").split())
