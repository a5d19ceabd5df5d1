"""The rivals with losses of their own, trained beside plain references: loops, in double precision.

A reference shares no code with the method: the towers are open_clip's, low-rank changes are added to their weights by
hand, and each loss is summed pair by pair. Both start at the same weights and see the same batch.
"""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from unit.baselines.test_rivals import build, drawn, trained, whole
from vialign.evaluation.run import score_matrix
from vialign.methods.baselines.labclip import LinearAlignment

STEPS, RATE = 6, 1e-3
SAME = {"atol": 2e-4, "rtol": 0}
"""What single precision leaves of a loss near 3, and of weights after a few steps of size `RATE`."""


def reference(weights, loss):
    """The weights after `STEPS` of AdamW on a loss, and the loss before and after them."""
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=0)
    before = float(loss().detach())
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    return before, float(loss().detach())


def symmetric(scores):
    """The contrastive loss of a square of scaled similarities, a row and a column at a time."""
    total = 0.0
    for place in range(len(scores)):
        own = scores[place, place]
        total = (
            total + torch.log(torch.exp(scores[place] - own).sum()) + torch.log(torch.exp(scores[:, place] - own).sum())
        )
    return total / (2 * len(scores))


def test_labclip_with_negatives_is_trained_as_a_plain_loop_trains_one_matrix(data, batch):
    """`log(1 + exp(s(v, A t') - s(v, A t)))` of every pair with a negative t', beside the contrastive loss."""
    own = replace(data, text_pooled=F.normalize(drawn(len(data.texts), 16, seed=3), dim=1))
    method = LinearAlignment(16, 20.0, 0.5)
    matrix = torch.eye(16, dtype=torch.float64, requires_grad=True)
    images, texts = own.image_pooled.double(), own.text_pooled.double()

    def similar(image, text):
        moved = matrix @ texts[text]
        return 20.0 * (images[image] @ moved) / moved.norm()

    def loss():
        pairs = list(zip(*(part.tolist() for part in (batch.images, batch.texts, batch.negatives)), strict=True))
        scores = torch.stack([torch.stack([similar(image, text) for _, text, _ in pairs]) for image, _, _ in pairs])
        told = [
            torch.log(1 + torch.exp(similar(image, wrong) - similar(image, text)))
            for image, text, wrong in pairs
            if wrong >= 0
        ]
        return symmetric(scores) + 0.5 * sum(told) / len(told)

    found = [float(method.loss(own, batch)["loss"].detach())]
    expected = reference([matrix], loss)
    trained(method, own, batch, STEPS, RATE)
    found.append(float(method.loss(own, batch)["loss"].detach()))
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), **SAME)
    torch.testing.assert_close(method.map.detach().double(), matrix.detach(), **SAME)
    assert found[1] < found[0] - 0.01, "the comparison would hold of weights that hardly move"


def test_negclip_is_trained_as_the_authors_loss_by_loops_trains_open_clip(backbone, data, batch):
    """The same losses, weights and scores. The method runs in double precision too: a step of AdamW is as long for a
    gradient that is nothing but rounding.
    """
    method = build("negclip", copy.deepcopy(backbone)).double()
    data = replace(data, pixels=data.pixels.double() / 255)
    model = copy.deepcopy(backbone.model).double().eval().requires_grad_(True)
    weights = {name: value for name, value in model.named_parameters() if not name.startswith("logit_")}
    rivals = batch.negatives[batch.negatives >= 0]
    assert len(rivals) >= 2, "the loss would be that of plain tuning"

    def scores(images, texts):
        seen = F.normalize(model.encode_image(backbone.normalise(data.pixels[images])), dim=1)
        return seen @ F.normalize(model.encode_text(whole(data.token_ids[texts])), dim=1).T

    def loss():
        logits = backbone.logit_scale * scores(batch.images, torch.cat([batch.texts, rivals]))
        count = len(batch.images)
        rows = [logits[i].logsumexp(0) - logits[i, i] for i in range(count)]
        columns = [logits[:, i].logsumexp(0) - logits[i, i] for i in range(count)]
        return sum(rows) / count / 2 + sum(columns) / count / 2

    found = [float(method.loss(data, batch)["loss"].detach())]
    expected = reference(list(weights.values()), loss)
    trained(method, data, batch, STEPS, RATE)
    found.append(float(method.loss(data, batch)["loss"].detach()))
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), **SAME)
    assert expected[1] < expected[0] - 0.01, "the comparison would hold of weights that hardly move"
    for name, value in weights.items():
        torch.testing.assert_close(method.model.get_parameter(name), value, **SAME)
    with torch.no_grad():
        whole_gallery = scores(torch.arange(len(data.image_ids)), data.captions)
    torch.testing.assert_close(score_matrix(method, data, 8), whole_gallery, **SAME)


class PlainFscClip:
    """FSC-CLIP in the words of its paper, on open_clip's towers with `W + 2 B A` in place of W."""

    def __init__(self, method, backbone):
        self.model = copy.deepcopy(backbone.model).double().eval()
        self.scale, self.normalise = backbone.logit_scale, backbone.normalise
        self.adapters = {
            name: value.detach().double().clone().requires_grad_(True) for name, value in method.trainable().items()
        }
        self.seen = {}
        self.model.visual.transformer.register_forward_hook(lambda _, __, out: self.seen.update(patches=out))
        self.model.ln_final.register_forward_hook(lambda _, __, out: self.seen.update(tokens=out))

    def weights(self):
        """The weights that adapters change, by open_clip's names."""
        changed = {}
        for name, low in self.adapters.items():
            place, kind, _ = name.removeprefix("model.").partition(".lora_A")
            if kind:
                part = place.replace(".attn.qkv", ".attn.in_proj_weight").replace(".attn.out", ".attn.out_proj.weight")
                change = 2 * self.adapters[name.replace("lora_A", "lora_B")] @ low
                changed[part] = self.model.get_parameter(part).detach() + change
        return changed

    def encoded(self, call, given):
        """Unit embeddings, as open_clip's own function gives them, with the tower's states left in `seen`."""
        wrapped = torch.nn.Module()
        wrapped.model = self.model
        wrapped.forward = lambda values: getattr(self.model, call)(values)
        changed = {f"model.{name}": value for name, value in self.weights().items()}
        return F.normalize(functional_call(wrapped, changed, (given,)), dim=1)

    def images(self, pixels):
        pooled = self.encoded("encode_image", self.normalise(pixels).double())
        visual = self.model.visual
        return pooled, F.normalize(visual.ln_post(self.seen["patches"][:, 1:]) @ visual.proj, dim=2)

    def texts(self, ids):
        pooled = self.encoded("encode_text", whole(ids))
        return pooled, F.normalize(self.seen["tokens"] @ self.model.text_projection, dim=2)

    def local(self, patches, tokens, ids):
        """log Σ exp over the tokens of one text that are there, each against the patches that it looks at."""
        terms = []
        for token, name in zip(tokens, ids.tolist(), strict=True):
            if name == 0:
                continue
            cosines = [float((token @ patch).detach()) for patch in patches]
            low, high = min(cosines), max(cosines)
            looks = [(value - low) / (high - low) for value in cosines]
            looks = [value if value >= 1 / len(patches) else 0.0 for value in looks]
            seen = sum(value * patch for value, patch in zip(looks, patches, strict=True))
            terms.append(torch.exp(self.scale * (seen / seen.norm()) @ token))
        return torch.log(sum(terms))

    def told_apart(self, pairs):
        """Focal loss with smoothed labels of (true, wrong) logits; γ = 2 and 0.02 are the authors' values."""
        total = 0.0
        for true, wrong in pairs:
            share = 1 / (1 + torch.exp(wrong - true))
            for label, part in ((1 - 0.02 + 0.01, share), (0.01, 1 - share)):
                total = total - label * (1 - part) ** 2 * torch.log(part)
        return total / len(pairs)

    def loss(self, data, batch, weight):
        present = batch.negatives >= 0
        images, patches = self.images(data.pixels[batch.images])
        texts, tokens = self.texts(data.token_ids[batch.texts].long())
        wrong, wrong_tokens = self.texts(data.token_ids[batch.negatives[present]].long())
        alone, together = [], []
        for place, row in enumerate(present.nonzero()[:, 0].tolist()):
            alone.append((self.scale * images[row] @ texts[row], self.scale * images[row] @ wrong[place]))
            both = ((tokens[row], batch.texts[row]), (wrong_tokens[place], batch.negatives[row]))
            together.append([self.local(patches[row], own, whole(data.token_ids[text[None]])[0]) for own, text in both])
        negative = 0.5 * self.told_apart(alone) + 0.2 * self.told_apart(together)
        return symmetric(self.scale * images @ texts.T) + weight * negative


@pytest.mark.parametrize("tower", ["vit"], indirect=True)
def test_fsc_clip_is_trained_as_its_losses_by_loops_train_open_clip(backbone, data, batch):
    method = build("fsc-clip", backbone)
    plain = PlainFscClip(method, backbone)
    present = batch.negatives >= 0
    assert present.sum() >= 2, "the loss would have next to nothing to tell apart"

    def margin(images, right, wrong):
        return float((images * (right - wrong)).sum(dim=1).mean())

    found = [method.loss(data, batch)["loss"].detach()]
    expected = reference(list(plain.adapters.values()), lambda: plain.loss(data, batch, method.negative_weight))
    trained(method, data, batch, STEPS, RATE)
    found.append(method.loss(data, batch)["loss"].detach())
    torch.testing.assert_close(torch.stack(found).double(), torch.tensor(expected).double(), **SAME)
    assert expected[1] < expected[0] - 0.01, "the comparison would hold of weights that hardly move"
    with torch.no_grad():
        side = [method.images(data, batch.images[present])["pooled"]]
        side += [method.texts(data, index[present])["pooled"] for index in (batch.texts, batch.negatives)]
        own = [plain.images(data.pixels[batch.images[present]])[0]]
        own += [plain.texts(data.token_ids[index[present]].long())[0] for index in (batch.texts, batch.negatives)]
    assert math.isclose(margin(*side), margin(*own), abs_tol=2e-4)
