"""One training as a job: from the files of the stages before to a checkpoint with its logs.

In one process it is a function call. With `training.processes` above 1 the same job runs under torchrun:
`torchrun --nproc-per-node 2 -m vialign.training.job JOB.json`, where the first process writes. With `training.nodes`
above 1, SLURM's `srun` starts torchrun on every node of the job, and they meet at the node that this process runs on.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import BaseModel, SkipValidation, field_serializer, field_validator

from vialign.config.experiment import Config
from vialign.config.pairs import recipe_of
from vialign.config.sections import dump_declared, load_declared
from vialign.errors import UserError
from vialign.files.artifacts import Provenance, read_table, write_table, write_text
from vialign.files.locks import end_cleanly
from vialign.files.text import any_console, read_text
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.training import AVERAGES, MONITOR, SEARCH, SIGNAL_MONITOR, TRAINING_LOG

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.disentangle.boxes import BoxTargets
    from vialign.features import BackboneFacts
    from vialign.methods.objective import SplitData

SPLIT_PARTS = ("texts", "image_features", "text_features", "encoded")
"""The input files of a split, `<split>_<part>`."""


class TrainingJob(BaseModel):
    """Everything that a training reads and writes, as text, so that other processes can be told."""

    config: SkipValidation[Config]
    method: str
    seed: int
    until: Literal["early", "final"]
    inputs: dict[str, str]
    """`<split>_<part>` of train and selection, `images`, `calibration`, and for `final` `start` with its tables;
    `<split>_regions` for a method that reads them, `objects` for one that is told labelled boxes."""
    outputs: dict[str, str]
    provenance: Provenance
    threads: int = 1
    """Of all processes of a node together."""

    @field_serializer("config")
    def _dump(self, config: Config) -> dict[str, Any]:
        return dump_declared(config)

    @field_validator("config", mode="before")
    @classmethod
    def _load(cls, given: Any) -> Any:
        return load_declared(given) if isinstance(given, dict) else given

    @property
    def unfinished(self) -> Path:
        """Where the training is kept while it is under way: a hidden file beside its checkpoint."""
        checkpoint = Path(self.outputs["checkpoint"])
        return checkpoint.with_name(f".{checkpoint.name}.unfinished.safetensors")


def run_job(job: TrainingJob) -> None:
    """Do the job, in as many processes as its config says. Raises UserError when one of them fails."""
    training = job.config.training
    if training.nodes * training.processes == 1:
        train_job(job)
        return
    request = job.unfinished.with_suffix(".json")
    command = launch(training.nodes, training.processes, job.threads, request)
    write_text(job.model_copy(update={"threads": max(1, job.threads // training.processes)}).model_dump_json(), request)
    # Line by line, because a stage puts in the place of stderr an object that is no file of its own.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace"
    ) as launched:
        try:
            for line in launched.stdout or ():
                sys.stderr.write(line)
        except BaseException:
            launched.terminate()
            raise
    request.unlink(missing_ok=True)
    if launched.returncode:
        count = training.nodes * training.processes
        raise UserError(f"training {job.method}, seed {job.seed}: one of {count} processes failed; see the lines above")


def launch(nodes: int, processes: int, threads: int, request: Path) -> list[str]:
    """The command that does the job in `request` in so many processes of each node, with so many threads a node.

    Several nodes are those of the SLURM job that this process belongs to. Raises UserError where there is none.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    work = ["-m", "vialign.training.job", str(request)]
    if nodes == 1:
        return [*torchrun, "--standalone", *work]
    if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
        raise UserError(
            f"config: training.nodes: {nodes} nodes share a training only in a job of SLURM; run with "
            "`--workflow-profile profiles/slurm`, or set it to 1"
        )
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    meeting = ["--nnodes", str(nodes), "--master-addr", socket.gethostname(), "--master-port", str(port)]
    srun = ["srun", "--nodes", str(nodes), "--ntasks-per-node", "1", "--cpus-per-task", str(threads)]
    # Its number is known to a node alone, so a shell there hands it to torchrun, as the default of --node-rank.
    ranked = ["sh", "-c", 'PET_NODE_RANK=$SLURM_NODEID exec "$0" "$@"']
    return [*srun, "--kill-on-bad-exit=1", *ranked, *torchrun, *meeting, *work]


def train_job(job: TrainingJob) -> None:
    """Train, and write what is left; where several processes share the batches, the first writes."""
    import torch

    from vialign.device import device_of, within_memory
    from vialign.distributed import is_first
    from vialign.evaluation.run import core_outcomes
    from vialign.methods.build import build_method, open_backbone
    from vialign.methods.checkpoint import load_checkpoint, load_trail, save_checkpoint, save_trail
    from vialign.signal.calibration import read_calibration
    from vialign.training.loop import Diverged, train
    from vialign.training.unfinished import Unfinished

    torch.set_num_threads(job.threads)
    config, outputs = job.config, job.outputs
    backbone = open_backbone(job.method, config, job.inputs["train_image_features"])
    method = build_method(job.method, config, backbone, read_calibration(job.inputs["calibration"]), job.seed)
    method.to(device_of(config))
    data = {split: read_job_split(job, split, method.needs, backbone) for split in ("train", "selection")}
    early, recipe = job.until == "early", recipe_of(job.method, config)
    unfinished = Unfinished(
        job.unfinished, {**job.provenance, "inputs": state_of(job.inputs)}, config.training.keep_seconds
    )
    rate = found_rate(job)
    try:
        with within_memory("training.batch"):
            result = train(
                method,
                data["train"],
                data["selection"],
                recipe,
                peak_rate=rate,
                seed=job.seed,
                to_step=recipe.early_steps if early else recipe.steps,
                start=None if early else load_checkpoint(job.inputs["start"]),
                unfinished=unfinished,
            )
    except Diverged as error:
        raise UserError(
            f"training.learning_rates: {error} on the way, seed {job.seed}, peak rate {rate:g}; set a smaller rate"
        ) from None
    if not is_first():
        return
    log, monitor, signal_monitor, trail = result.log, result.monitor, result.signal_monitor, result.trail
    if early:
        outcomes = result.outcomes
        if outcomes is None:
            outcomes = core_outcomes(method, data["selection"], job.method, job.seed, "selection")
        write_table(outcomes, OUTCOMES, outputs["outcomes"], job.provenance)
    else:
        log = pd.concat([read_table(job.inputs["start_steps"], TRAINING_LOG), log])
        monitor = pd.concat([read_table(job.inputs["start_monitor"], MONITOR), monitor])
        signal_monitor = pd.concat([read_table(job.inputs["start_signal_monitor"], SIGNAL_MONITOR), signal_monitor])
        trail = {**load_trail(job.inputs["start_trail"]), **trail}
    save_checkpoint(result.checkpoint, outputs["checkpoint"], job.provenance)
    write_table(log, TRAINING_LOG, outputs["steps"], job.provenance)
    write_table(monitor, MONITOR, outputs["monitor"], job.provenance)
    write_table(signal_monitor, SIGNAL_MONITOR, outputs["signal_monitor"], job.provenance)
    save_trail(trail, outputs["trail"], job.provenance)
    unfinished.remove()


def search_job(job: TrainingJob) -> None:
    """Try every candidate of the method's learning rate for the early steps; write the table `SEARCH`."""
    from vialign.device import device_of, within_memory
    from vialign.methods.build import build_method, learning_rate, open_backbone
    from vialign.signal.calibration import read_calibration
    from vialign.training.search import search_rates

    config = job.config
    backbone = open_backbone(job.method, config, job.inputs["train_image_features"])
    calibration = read_calibration(job.inputs["calibration"])
    device = device_of(config)
    needs = build_method(job.method, config, backbone, calibration, job.seed).needs
    data = {split: read_job_split(job, split, needs, backbone) for split in ("train", "selection")}
    with within_memory("training.batch"):
        table = search_rates(
            lambda: build_method(job.method, config, backbone, calibration, job.seed).to(device),
            data["train"],
            data["selection"],
            config.training,
            base_rate=learning_rate(job.method, config.training),
            seed=job.seed,
        )
    write_table(table, SEARCH, job.outputs["search"], job.provenance)


def average_job(job: TrainingJob) -> None:
    """Average the tuned weights with the frozen ones, with the share that selection chooses."""
    import torch

    from vialign.device import device_of
    from vialign.methods.averaging import choose_share
    from vialign.methods.build import build_method, open_backbone
    from vialign.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from vialign.signal.calibration import read_calibration
    from vialign.training.monitor import check, selection_score

    torch.set_num_threads(job.threads)
    backbone = open_backbone(job.method, job.config, job.inputs["selection_image_features"])
    method = build_method(job.method, job.config, backbone, read_calibration(job.inputs["calibration"]), job.seed)
    method.to(device_of(job.config))
    data = read_job_split(job, "selection", method.needs, backbone)
    tuned = load_checkpoint(job.inputs["trained"])
    shares = job.config.baselines.averaging_shares
    share, scores = choose_share(
        method.eval(),
        method.state(),
        tuned.best,
        shares,
        lambda: selection_score(check(method, data, tuned.step, job.seed)[0]),
    )
    state = method.state()
    checkpoint = Checkpoint(tuned.step, state, state, scores[share], tuned.best_step, {})
    save_checkpoint(checkpoint, job.outputs["checkpoint"], job.provenance)
    rows = [{"share": tried, "score": score, "chosen": tried == share} for tried, score in scores.items()]
    write_table(pd.DataFrame(rows), AVERAGES, job.outputs["averages"], job.provenance)


def found_rate(job: TrainingJob) -> float:
    """The learning rate that the search chose; that of the config where nothing was searched."""
    from vialign.methods.rates import searched_rate

    return searched_rate(job.method, job.inputs.get("search"), job.config.training)


def read_job_split(
    job: TrainingJob, split: str, needs: frozenset[str], backbone: "Backbone | BackboneFacts"
) -> "SplitData":
    """A split with all that the method reads of it. Negatives are left out of training where they have no weight in
    the method's recipe, and of the choice of weights and rates where they have none in the config's.
    """
    from vialign.data.folders import image_folders
    from vialign.device import device_of
    from vialign.methods.inputs import read_split

    boxed = split == "train" and "objects" in job.inputs
    images = read_table(job.inputs["images"], IMAGES) if boxed or "pixels" in needs else None
    data = read_split(
        *(job.inputs[f"{split}_{part}"] for part in SPLIT_PARTS),
        needs=needs,
        images=images,
        folders=image_folders(job.config.data, Path(job.inputs["images"]).parent),
        backbone=backbone,
        regions=job.inputs.get(f"{split}_regions"),
        device=device_of(job.config),
    )
    if boxed and images is not None:
        data = replace(data, boxes=labelled_boxes(job, data.image_ids, images, backbone))
    recipe = recipe_of(job.method, job.config) if split == "train" else job.config.training
    return data if recipe.negatives > 0 else replace(data, negatives=data.negatives[:, :0])


def labelled_boxes(
    job: TrainingJob, image_ids: list[str], images: pd.DataFrame, backbone: "Backbone | BackboneFacts"
) -> "BoxTargets":
    """What the labelled boxes of these images cover, as far as the visual dictionary is told them: of the first
    `visual.images`, and of `visual.labelled` of these. Raises UserError when they have none.
    """
    from vialign.device import device_of
    from vialign.disentangle.boxes import box_targets, told_boxes
    from vialign.features import BackboneFacts

    assert not isinstance(backbone, BackboneFacts), "a method that is told boxes runs the towers"
    objects = read_table(job.inputs["objects"], OBJECTS)
    visual = job.config.visual
    known = objects[objects["image_id"].isin(image_ids[: visual.images])]
    known = told_boxes(known, visual.labelled, job.config.seed)
    rows = images.set_index("image_id").loc[image_ids].reset_index()
    found = box_targets(known, rows, backbone.grid, resize_mode=backbone.resize_mode)
    if not found.labels:
        raise UserError(
            f"{job.inputs['objects']}: has no labelled box of a training image; leave {job.method} out of "
            "training.methods and training.compare"
        )
    return found.to(device_of(job.config))


def state_of(inputs: dict[str, str]) -> str:
    """sha256 over name, size and time of the input files: another one once a stage before has run again."""
    total = hashlib.sha256()
    for name, path in sorted(inputs.items()):
        file = Path(path)
        found = (file / "manifest.parquet" if file.is_dir() and (file / "manifest.parquet").exists() else file).stat()
        total.update(f"{name} {path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return total.hexdigest()


def main(path: str) -> None:
    """What each process of torchrun does."""
    from vialign.device import device_of
    from vialign.distributed import process_group

    any_console()
    end_cleanly()
    job = TrainingJob.model_validate_json(read_text(path))
    try:
        with process_group(device_of(job.config)):
            train_job(job)
    except UserError as error:
        sys.exit(f"vialign: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
