# %% [markdown]
# # Verify a signal on your own CLIP
#
# *This page is a script that was run: [verify_signal.py](verify_signal.py). It takes seconds on one core, offline.*
#
# A score is worth using where it was shown to work, and only there. This example takes one CLIP and one folder of
# captioned images and asks: does the finer look of vialign tell true captions from wrong ones *here*, and would the
# test have noticed if it did not?
#
# ## 1. The model and the images
# The demo backbone and a folder of drawn scenes stand in for yours. With your own model the two lines are
# `open_backbone("ViT-B-32", "weights.safetensors")` and `read_captions("photos", "captions.csv")`; everything below
# stays as it is, and a thousand images take minutes instead of seconds.

# %%
import numpy as np
import pandas as pd
import torch
from PIL import Image

from vialign.config.experiment import load_config
from vialign.toolkit import diagnose_signal, draw_example, find_parser, fit_signal, open_backbone, read_captions

torch.set_num_threads(1)
backbone = open_backbone("vialign-scenes", "package")
table = draw_example("shapes", images=320)
captions = read_captions("shapes/images", table)
print(backbone.contract["architecture"], len(captions.image_ids), "images,", len(captions.table), "captions, such as")
print(*captions.table["text"].head(3), sep="\n")

# %% [markdown]
# ## 2. Fit the units
# Some of the images teach the two small disentanglers, others the two maps that make similarities comparable. The
# rest is touched by nothing: the verdict comes from there. Steps and images of the fit are few here to save time.

# %%
config = load_config(
    {
        "visual": {"steps": 60, "batch": 64},
        "text": {"steps": 60, "batch": 64},
        "language": {"sentences": 300, "epochs": 2},
        "features": {"readout": "self_self"},
    }
)
parser = find_parser(config=config.language)
signal = fit_signal(backbone, captions, parser, config=config, fit_images=120, calibration_images=60)
print(signal.images["used_for"].value_counts().to_string())

# %% [markdown]
# ## 3. Ask before you use it
# `diagnose_signal` holds true captions against captions of other images and against captions that a rule made wrong:
# roles swapped, attributes swapped, the relation replaced, the words shuffled. An AUC of 0.5 is a coin, a star says
# that the score is surely above it. `blind` is a classifier that sees no image: where it is as good as a signal, that
# row is no evidence. `s_global` is what CLIP says by itself.

# %%
diagnosis = diagnose_signal(signal, captions, driver="agreement")
print(diagnosis)

# %% [markdown]
# Read it in three steps. On swapped attributes `agreement` stands surely above a coin. Swapped roles and replaced
# relations it does not see, and shuffled words are no evidence, since the words alone solve them. And the verdict is
# *no*, for the question that counts: it is not shown that `agreement` adds anything to `s_global`, nor to `s_global`
# with `s_local`. A score that says what CLIP says already needs no second look. After so short a fit that is no
# surprise; it is a reason to fit longer, not to use it.
#
# ## 4. The control that must fail
# A test that accepts everything verifies nothing. So deal the captions to the wrong images and ask again: the same
# signal, the same images, captions that are no longer true. Now the answer must be no, and no score that looks at the
# image may keep its star. `blind` may: it reads words alone, and those are as they were.

# %%
dealt = pd.read_csv(table)
dealt["image"] = np.roll(dealt["image"], 500)
dealt.to_csv("dealt.csv", index=False)
print(diagnose_signal(signal, read_captions("shapes/images", "dealt.csv"), driver="agreement"))

# %% [markdown]
# ## 5. Use it
# Where the verdict allows it, score what you like: pictures in memory with texts, or a whole folder with
# `score_signal`. Here one image with its own caption and with a caption of another image.

# %%
true, other = captions.table["text"].iloc[0], captions.table["text"].iloc[-1]
picture = Image.open("shapes/images/00000.png")
scores = signal.score([picture, picture], [true, other])
print(scores[["s_global_calibrated", "s_local_calibrated", "agreement"]].round(2).set_axis([true, other]).to_string())

# %% [markdown]
# ## What to take from it
# - Read the row of your kind of error and compare it with `s_global` and `blind` in the same row.
# - A refusal is an answer: change the readout or the parser, or give more images, and ask again on images that you do
#   not report on ([the toolkit's page](../signal-toolkit.md) tells the options, `save_signal` keeps the units).
# - On real photographs and small models the signal is often refused ([measurements](../measurements.md)).
