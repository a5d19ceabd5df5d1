"""Phase 2 on a user's own images: how the signal and S_global decay under attacks, corruptions and noisy texts."""

from dataclasses import dataclass

import pandas as pd

from vialign.errors import UserError
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, build_pairs
from vialign.signal.validation.decay import ALL
from vialign.signal.validation.diagnosis import HARD
from vialign.signal.validation.stress import image_side, stress_sample, stress_test
from vialign.signal.validation.text_stress import TextSide
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.signal import NONE, OWN
from vialign.toolkit.captions import Captions
from vialign.toolkit.diagnosing import driven_by, with_negatives
from vialign.toolkit.encoder import to_pixels
from vialign.toolkit.fitting import texts_of
from vialign.toolkit.gallery import LEAST
from vialign.toolkit.images import Broken, draw_unused
from vialign.toolkit.signal import Signal


@dataclass(frozen=True)
class Stress:
    """What is left of the discrimination of a signal under stress."""

    curves: pd.DataFrame
    """Rows of `STRESS`."""
    summary: pd.DataFrame
    """Rows of `STRESS_SUMMARY`."""
    driver: str
    """The signal that was tested."""

    def __str__(self) -> str:
        return "\n".join(stress_lines(self))


def stress_signal(
    signal: Signal, captions: Captions, *, driver: str | None = None, images: int = 60, seed: int = 0
) -> Stress:
    """Disturb images and texts that no fit has seen, and follow the AUC of the signal beside S_global.

    `images` of them are drawn by seed, and all are held in memory; every image is encoded some sixty times and attacked
    with gradients. `driver` as in `diagnose_signal`. Raises UserError for an unknown driver or when fewer than 20
    images are unused and readable.

    >>> from vialign.toolkit import load_signal, open_backbone, read_captions
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> captions = read_captions("shapes/images", "shapes/captions.csv")
    >>> stress = stress_signal(signal, captions, driver="agreement", images=20)
    >>> "pgd" in set(stress.summary["attack"]), "typos" in set(stress.summary["attack"])
    (True, True)
    """
    config = driven_by(signal.config, driver).model_copy(update={"stress_images": images})
    unused = draw_unused(captions, signal.used, images, seed)
    broken = Broken(captions.strict, len(unused), captions.tolerance)
    drawn = {name: broken.read(captions.folder, name) for name in unused}
    broken.report()
    pictures = {name: picture for name, picture in drawn.items() if picture is not None}
    if len(pictures) < LEAST:
        raise UserError(
            f"{captions.file}: {len(pictures)} of its images can be read and were used neither to fit nor to calibrate "
            f"the signal; a stress test needs {LEAST}: give more images, or other ones than those of the fit"
        )
    encoder, names = signal.encoder, list(pictures)
    texts = with_negatives(texts_of(captions.table, names), encoder.parser, seed)
    language = TextSide(encoder.backbone, encoder.parser, encoder.text)
    pooled, phrases = language.encode(texts["text"].tolist())
    shown = encoder.images(list(pictures.values()))
    features = SplitFeatures(names, shown.pooled, shown.prototypes, texts["text_id"].tolist(), pooled, phrases)
    side = image_side(encoder.backbone, encoder.visual, encoder.readout)
    pairs = build_pairs(texts, names, ["random", *NEGATIVE_KINDS], config.pairs, seed)
    sample = stress_sample(to_pixels(encoder.backbone, list(pictures.values())), pairs, features, side, config, seed)
    calibration = SignalCalibration.from_table(signal.calibration)
    return Stress(*stress_test(sample, texts, side, language, None, calibration, config, seed), config.driver)


def stress_lines(stress: Stress) -> list[str]:
    """The share of the excess over chance that is kept, of the signal and of S_global, for a terminal."""
    lines = ["share of the discrimination beyond chance that is kept [95 % interval]; 1 is no decay, 0 is chance"]
    for kind in (HARD, "random"):
        # Each signal under the attacks on itself.
        summary = stress.summary
        own = summary["target"].isin([NONE, OWN]) | (summary["target"] == summary["signal"])
        rows = summary[own & (summary["kind"] == kind)].set_index(["attack", "signal"])
        if rows.empty:
            continue
        lines.append(f"{kind:20}{stress.driver:>24}{'s_global':>24}")
        for attack in dict.fromkeys(rows.index.get_level_values("attack")):
            cells = (_kept(rows.loc[(attack, name)]) for name in (stress.driver, "s_global"))
            lines.append(f"{'mean of all' if attack == ALL else attack:20}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _kept(row: pd.Series) -> str:
    if pd.isna(row["relative_area"]):
        return "no better than chance"
    return f"{row['relative_area']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
