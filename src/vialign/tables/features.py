"""Tables of stored features and of the demo backbone's pretraining."""

from vialign.tables.schema import Table, key, number, number_key, texts, whole

FEATURE_SHARDS = Table(
    "feature_shards",
    shard=key("safetensors file of the shard, in the folder of the manifest"),
    rows=whole("rows of the shard", low=1),
    ids=texts("image or text ids of the rows, in order"),
)


PRETRAINING = Table(
    "pretraining",
    step=number_key("optimiser step, from 1"),
    loss=number("symmetric contrastive loss of the step's batch"),
)
