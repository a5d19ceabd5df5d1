"""What an index knows its model by: the contract of the backbone, and a digest of what made the prototypes."""

import hashlib
import json
from pathlib import Path

from vialign.aligner.aligner import Aligner
from vialign.aligner.opening import is_blip, load
from vialign.backbone.adopting import tensors_digest
from vialign.collection.store import Head
from vialign.errors import UserError


def open_aligner(head: Head, device: str = "cpu") -> Aligner:
    """The model that an index was made with. Raises UserError where it cannot be had, or is another."""
    if Path(head.model).is_dir() and not is_blip(Path(head.model)):
        return load(head.model, backbone=head.pretrained, device=device)
    return load(head.model, head.pretrained, signal=head.units, device=device)


def pinned(head: Head, aligner: Aligner) -> Head:
    """What is asked for, with what the model that was opened for it is known by."""
    backbone = aligner.backbone
    known = {"contract": backbone.contract, "dimension": backbone.dimension, "units_digest": units_digest(aligner)}
    return head.model_copy(update=known)


def units_digest(aligner: Aligner) -> str | None:
    """sha256 of what prototypes depend on: the readout, and the dictionary's settings and tensors; None without units.

    What reads the words and the calibration are left out: an index holds nothing of them.
    """
    if aligner.signal is None:
        return None
    encoder = aligner.signal.encoder
    settings = json.dumps([encoder.readout, encoder.visual.numbers()], sort_keys=True)
    return hashlib.sha256(f"{settings} {tensors_digest(encoder.visual)}".encode()).hexdigest()


def check_units(found: Head, wanted: str | None, folder: Path) -> None:
    """Raises UserError where the prototypes of an index are not of the units with the digest `wanted`."""
    if found.units_digest == wanted:
        return
    if found.units_digest is None:
        raise UserError(
            f"{folder}: does not say which units made it (it was made without any, or by an earlier vialign); delete "
            "it and index the pictures again"
        )
    raise UserError(
        f"{folder}: was made with other units than {found.units or found.model} now has; bring those back, or delete "
        "the index and index the pictures again"
    )
