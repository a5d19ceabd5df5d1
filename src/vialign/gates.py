"""What a gate's verdict table decided: read by the workflow, which must not import anything heavy for it."""

from vialign.artifacts import read_table
from vialign.tables import VERDICT


def gate_action(path: str) -> str:
    """`go`, `warn` or `stop`.

    Raises ValueError when the rows of the verdict disagree, which would be a bug of the gate.
    """
    actions = set(read_table(path, VERDICT)["action"])
    if len(actions) != 1:
        raise ValueError(f"{path}: the rows of a verdict must carry one action, found {sorted(actions)}")
    return str(actions.pop())
