"""The signal and the attacks on it run where their arguments are."""

import pandas as pd
import torch

from planted import random_world
from vialign.config.signal import SignalConfig
from vialign.signal.pairs import SplitFeatures, calibrate_signal
from vialign.signal.validation.attacks import fgsm, pgd

META = torch.device("meta")


def test_no_tensor_of_a_pairs_signal_is_made_elsewhere():
    prototypes, phrases, images, texts = random_world(0, images=12, texts=24)
    names, said = [f"i{n}" for n in range(12)], [f"t{n}" for n in range(24)]
    features = SplitFeatures(names, images, prototypes, said, texts, phrases)
    pairs = pd.DataFrame({"image_id": names * 2, "text_id": said, "kind": ["aligned"] * 12 + ["random"] * 12})
    expected = calibrate_signal(pairs, features, SignalConfig(), 0)
    with META:  # where a tensor is made of which nobody says where
        pd.testing.assert_frame_equal(calibrate_signal(pairs, features, SignalConfig(), 0), expected)


def test_attacks_run_where_the_pixels_are_and_start_from_the_same_draws():
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def gain(shown):
        return shown.square().flatten(1).sum(dim=1)

    def attacked(shown):
        runs = pgd(gain, shown, [0.01, 0.02], steps=2, restarts=2, seed=0)
        return [fgsm(gain, shown, 0.01), *(found for _, found in runs)]

    expected = attacked(pixels)
    with META:
        found = attacked(pixels)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert {there.device for there in attacked(pixels.to(META))} == {META}
