"""From the results of a run to an aligner with everything that the run says of it."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vialign.aligner.about import About, Cost, Measured, Reference
from vialign.aligner.aligner import Aligner
from vialign.aligner.folding import FOLDED, fold, write_folded
from vialign.aligner.ranking import TrustRule, fit_trust, predictors_of
from vialign.analysis.explain import RunSignal, open_run
from vialign.backbone import model_definition
from vialign.backbone.adopting import tensors_digest
from vialign.catalogue import TOWER_METHODS
from vialign.config.experiment import Config, read_config
from vialign.data.folders import image_folders
from vialign.digest import code_digest
from vialign.errors import UserError
from vialign.evaluation.run import score_matrix
from vialign.features import BackboneFacts, contract_provenance
from vialign.files.artifacts import read_table
from vialign.files.folders import new_folder
from vialign.methods.build import build_method
from vialign.methods.checkpoint import load_best
from vialign.methods.inputs import read_split
from vialign.methods.objective import Objective
from vialign.progress import track
from vialign.signal.trust.gallery import all_local
from vialign.signal.trust.predictors import top_answers
from vialign.stage import make_provenance
from vialign.tables.data import IMAGES
from vialign.tables.evaluation import RESULTS
from vialign.tables.gates import BUDGET, VERDICT
from vialign.tables.schema import Table
from vialign.tables.signal import SIGNAL_CALIBRATION, TOOLKIT_IMAGES
from vialign.toolkit.images import content_digest
from vialign.toolkit.signal import TENSORS, Signal

CONFIG = "report/config.yaml"
"""The whole configuration of a run, in its results."""
TRUST_SPLIT = "selection"
"""Split whose queries the trust rule is fitted on: no test split chooses anything."""
_USES = {"train": "fit", "calibration": "calibration"}
_QUERIES = 256
_SHOWN = ("r1", "accuracy", "soft_accuracy", "text", "image", "group")
_COSTS = (
    "parameters_extra",
    "parameters_extra_share",
    "inference_operations_overhead",
    "inference_overhead",
    "training_overhead",
)
_GATES = {"signal": "signal/verdict.parquet", "budget": "gates/budget.parquet", "early": "gates/early.parquet"}


def run_config(results: Path, files: list[Path] | None) -> Config:
    """The configuration of the run whose results these are: its own copy, or the files that are given.

    Raises UserError where there is none.
    """
    own = results / CONFIG
    if not files and not own.is_file():
        raise UserError(f"{own}: no such file, so the run did not end; name its configuration: --config config.yaml")
    return read_config(*(files or [own])).model_copy(update={"results": str(results)})


def aligner_of_run(config: Config, method: str, seed: int | None = None) -> Aligner:
    """A trained method of a finished run, as an aligner that knows what was measured of it.

    `seed` is that of a training, by default the run's first. The trust in first answers is fitted on the split
    `selection`. Raises UserError where the method was not trained, or a part of the run is missing.
    """
    results = Path(config.results)
    seed = config.training.seeds[0] if seed is None else seed
    weights = results / f"train/{method}/{seed}/final.safetensors"
    if not weights.is_file():
        trained = sorted({path.parents[1].name for path in results.glob("train/*/*/final.safetensors")})
        seeds = sorted(path.parent.name for path in results.glob(f"train/{method}/*/final.safetensors"))
        there = (
            f"it was trained with seeds {', '.join(seeds)}" if seeds else f"there are {', '.join(trained) or 'none'}"
        )
        raise UserError(f"{weights}: no such training; {there}")
    run = open_run(config)
    backbone = run.encoder.backbone
    parts = backbone if method in TOWER_METHODS else BackboneFacts.of(backbone)
    built = build_method(method, config, parts, run.calibration, seed)
    load_best(built, weights)
    about = About(
        name=config.title,
        method=method,
        seed=seed,
        backbone=Reference(architecture=config.backbone.architecture),
        contract=backbone.contract,
        tensors=tensors_digest(backbone.model),
        trust=_trust(run, built),
        measured=_measured(results, method),
        costs=_costs(results, method),
        gates=_verdicts(results),
    )
    return Aligner(backbone, built, config, _signal(run), about)


def _signal(run: RunSignal) -> Signal:
    """The run's signal as the toolkit knows one, so that `vialign signal ...` reads the exported folder too."""
    contract = contract_provenance(run.encoder.backbone.contract)
    provenance = {
        **make_provenance(run.config, "export", code_digest(__name__)),
        **contract,
        "readout": run.encoder.readout,
        "signal": run.config.signal.model_dump_json(),
        TENSORS: tensors_digest(run.encoder.backbone.model),
    }
    table = read_table(run.results / "signal/calibration.parquet", SIGNAL_CALIBRATION)
    images = _used_images(run)
    content = str([table.to_dict("list"), images.to_dict("list"), sorted(provenance.items())])
    provenance["fit"] = hashlib.sha256(content.encode()).hexdigest()
    return Signal(run.encoder, table, images, run.config.signal, provenance)


def _used_images(run: RunSignal) -> pd.DataFrame:
    """TOOLKIT_IMAGES: the run's images that fitted or calibrated something, as far as their files are there."""
    path = run.results / "data/images.parquet"
    if not path.is_file():
        return TOOLKIT_IMAGES.empty()
    images = read_table(path, IMAGES)
    folders = image_folders(run.config.data, run.results / "data")
    used = images[images["split"].isin(_USES)]
    rows: dict[str, tuple[str, str, str]] = {}
    for row in track(used.to_dict("records"), "images that were used", total=len(used)):
        file = folders[row["source"]] / row["path"]
        if file.is_file():
            rows.setdefault(row["image_id"], (row["image_id"], content_digest(file), _USES[row["split"]]))
    return TOOLKIT_IMAGES.check(pd.DataFrame(list(rows.values()), columns=list(TOOLKIT_IMAGES.columns)))


def _trust(run: RunSignal, method: Objective) -> TrustRule | None:
    """The rule that judges first answers, from text queries of `TRUST_SPLIT`; None where the split is not there."""
    results = run.results
    places = [
        results / f"language/{TRUST_SPLIT}/texts.parquet",
        results / f"features/{TRUST_SPLIT}/images",
        results / f"features/{TRUST_SPLIT}/texts",
        results / f"disentangle/{TRUST_SPLIT}/encoded.safetensors",
    ]
    regions = results / f"regions/{TRUST_SPLIT}.safetensors"
    if not all(place.exists() for place in places) or ("regions" in method.needs and not regions.is_file()):
        return None
    data = read_split(
        *places,
        needs=method.needs,
        images=read_table(results / "data/images.parquet", IMAGES),
        folders=image_folders(run.config.data, results / "data"),
        backbone=run.encoder.backbone,
        regions=regions,
    )
    if not len(data.captions) or len(data.image_ids) < 2:
        return None
    scores = score_matrix(method, data, run.config.evaluation.gallery_batch).T.double().numpy()
    owner = data.image_of_text[data.captions].numpy()
    answers, wrong = top_answers(scores, owner[:, None] == np.arange(len(data.image_ids)))
    prototypes = data.prototypes.index(slice(None))
    local = torch.cat([all_local(prototypes, data.phrases.index(some)) for some in data.captions.split(_QUERIES)])
    predictors = predictors_of(scores, method.logit_scale, answers, local.double().numpy())
    return fit_trust(predictors, wrong, owner, len(data.image_ids))


def _measured(results: Path, method: str) -> list[Measured]:
    """Test results of the method with those of the frozen backbone beside them; none before they are compared."""
    table = _first(results, ("compare/results.parquet", "compare_all/results.parquet"), RESULTS, method)
    micro = table[(table["convention"] == "micro") & table["measure"].isin(_SHOWN)]
    frozen = micro[micro["method"] == "frozen"].set_index(["benchmark", "measure"])["value"].to_dict()
    rows = micro[micro["method"] == method].to_dict("records")
    return [
        Measured(
            name=f"{row['benchmark']}, {row['measure']}",
            value=row["value"],
            low=row["low"],
            high=row["high"],
            frozen=frozen.get((row["benchmark"], row["measure"])),
            count=row["items"],
            seeds=row["seeds"],
        )
        for row in rows
    ]


def _costs(results: Path, method: str) -> list[Cost]:
    table = _first(results, ("budget/ledger.parquet", "compare_all/ledger.parquet"), BUDGET, method)
    rows = table[(table["method"] == method) & table["measure"].isin(_COSTS)]
    return [
        Cost(
            name=row["measure"],
            value=row["value"],
            low=None if pd.isna(row["low"]) else row["low"],
            high=None if pd.isna(row["high"]) else row["high"],
            unit=row["unit"],
            backbone=row["backbone"],
        )
        for row in rows.to_dict("records")
    ]


def _first(results: Path, names: tuple[str, ...], table: Table, method: str) -> pd.DataFrame:
    """The first of the tables that is there and holds the method; an empty one where none does."""
    for name in names:
        if (results / name).is_file():
            found = read_table(results / name, table)
            if (found["method"] == method).any():
                return found
    return table.empty()


def _verdicts(results: Path) -> dict[str, str]:
    """What each gate of the run said."""
    found = {}
    for gate, name in _GATES.items():
        if (results / name).is_file():
            found[gate] = str(read_table(results / name, VERDICT)["action"].iloc[0])
    return found


def write_export(aligner: Aligner, folder: Path, with_backbone: bool, folded: bool) -> None:
    """Write an aligner as a new folder and, with `folded`, an open_clip checkpoint in it.

    Raises UserError as `fold` and `write_folded`; then nothing is written.
    """
    model = fold(aligner.method, aligner.backbone) if folded else None
    with new_folder(folder, "the export") as temporary:
        aligner.write(temporary, with_backbone)
        if model is not None:
            named = aligner.config.backbone
            settings = model_definition(named.architecture, named.definition)
            write_folded(model, aligner.backbone, settings, temporary / FOLDED)
