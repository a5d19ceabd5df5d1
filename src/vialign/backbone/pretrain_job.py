"""The demo backbones, made anew."""

from vialign.backbone.pretrain import pretrain_demo
from vialign.stage import Run


def pretrain_backbone(run: Run) -> None:
    """A demo backbone, with its tokenizer's merges and the log of its training."""
    pretrain_demo(
        run.config.backbone,
        run.config.seed,
        seen=run.config.data.seen_relations,
        weights=run.output.weights,
        merges=run.output.merges,
        log_table=run.output.log_table,
        provenance=run.provenance,
    )
