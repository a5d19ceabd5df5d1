"""A tokenizer that lies in one local `tokenizer.json`, the form in which model hubs serve them (SigLIP, BLIP)."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from open_clip.tokenizer import get_clean_fn

from vialign.backbone.offsets import Span, align
from vialign.errors import UserError, not_the_file, one_line, reading
from vialign.files.text import read_json, read_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
BESIDE = "tokenizer_config.json"


class FileTokenizer:
    """A tokenizer of the tokenizers library; gives the ids that `open_clip.tokenizer.HFTokenizer` gives.

    `clean` is open_clip's name of what is done to a text first (`whitespace`, `lower`, `canonicalize`; none for
    nothing), `table` the rows of the tower's token table; `strip_end` puts zeros in place of the end tokens. Raises
    UserError when the file is missing or malformed, does not say what it pads with, or has more tokens than the table.
    """

    def __init__(
        self, path: str | Path, context_length: int, table: int, clean: str | None, *, strip_end: bool = False
    ) -> None:
        path = Path(path) / FILE if Path(path).is_dir() else Path(path)
        with reading(path):
            self._open(path, context_length, table, clean, strip_end)

    def _open(self, path: Path, context_length: int, table: int, clean: str | None, strip_end: bool) -> None:
        self._path, self._tokenizer = path, _read(path)
        self._clean: Callable[[str], str] = str if clean is None else get_clean_fn(clean)
        self.context_length = context_length
        size = max(self._tokenizer.get_vocab().values()) + 1
        if size > table:
            raise UserError(
                f"{path}: has {size} tokens, but the text tower's table has {table} rows; name its own file"
            )
        self.padding = _padding(self._tokenizer, path)
        self.start, self.end = _frame(self._tokenizer)
        if strip_end:
            self.end = (0,) * len(self.end)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        self.description = (
            f"{FILE} {digest}, {size} tokens, context {context_length}, clean {clean}, padding {self.padding}"
        )

    def pieces(self, text: str) -> tuple[list[int], list[Span]]:
        """The text's own tokens and their characters, without the space that some tokenizers count in.

        Where the tokenizer itself puts in a token that stands for no character, its span is empty.
        """
        cleaned = self._clean(text)
        origin = align(cleaned, text)
        with reading(self._path):  # a vocabulary without its own unknown word is found out here
            found = self._tokenizer.encode(cleaned, add_special_tokens=False)
        spans: list[Span] = []
        for start, end in found.offsets:
            letters = [place for place in range(start, end) if not cleaned[place].isspace()]
            if letters:
                spans.append((origin[letters[0]][0], origin[letters[-1]][1]))
            else:
                at = spans[-1][1] if spans else 0
                spans.append((at, at))
        return found.ids, spans

    def copy_to(self, folder: Path) -> None:
        """Copy the file under its usual name into a folder, with what stands beside it."""
        if (beside := self._path.with_name(BESIDE)).is_file():
            shutil.copyfile(beside, folder / BESIDE)
        shutil.copyfile(self._path, folder / FILE)


def download_tokenizer(architecture: str, name: str | None) -> Path:
    """The tokenizer.json that an architecture names, fetched once into the hub's cache.

    Raises UserError when the architecture names none or it cannot be fetched.
    """
    mend = f"put its {FILE} and {BESIDE} into a folder and name that in backbone.tokenizer"
    if name is None:
        raise UserError(f"backbone.tokenizer: {architecture} uses a sentencepiece vocabulary without a {FILE}; {mend}")
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(name, BESIDE)
        return Path(hf_hub_download(name, FILE))
    except Exception as error:  # the hub's client raises many kinds, all of which mean the same here
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"backbone.tokenizer: {architecture} needs the tokenizer {name}, which could not be downloaded ({reason}); "
            f"check the network, or {mend}"
        ) from None


def _read(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    if not path.is_file():
        raise UserError(f"backbone.tokenizer: {path}: no such file; name a {FILE} or the folder that holds one")
    text = read_text(path)
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception for every kind of damage
        said = not_the_file(path) or f"not a {FILE} of the tokenizers library ({one_line(error)}); get it again"
        raise UserError(f"{path}: {said}") from None
    tokenizer.no_truncation()
    return tokenizer


def _padding(tokenizer: "Tokenizer", path: Path) -> int:
    """The id that pads: as the file itself says, else the `tokenizer_config.json` beside it.

    A tower without a padding mask (SigLIP) sees the padding, so a guess would change its numbers.
    """
    if tokenizer.padding is not None:
        padding = int(tokenizer.padding["pad_id"])
        tokenizer.no_padding()
        return padding
    beside = path.with_name(BESIDE)
    with reading(beside):
        settings: dict[str, Any] = read_json(beside, finite=True) if beside.is_file() else {}
        token = settings.get("pad_token")
    name = token.get("content") if isinstance(token, dict) else token
    found = tokenizer.token_to_id(name) if isinstance(name, str) else None
    if found is None:
        raise UserError(f"{path}: does not say which token pads a text; put its {BESIDE} beside it")
    return int(found)


def _frame(tokenizer: "Tokenizer") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer itself puts before and after a text."""
    found = tokenizer.encode("a")
    own = [place for place, special in enumerate(found.special_tokens_mask) if not special]
    return tuple(found.ids[: own[0]]), tuple(found.ids[own[-1] + 1 :])
