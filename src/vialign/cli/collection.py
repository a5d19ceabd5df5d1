"""`vialign index`, `search` and `serve`: a searchable collection of pictures."""

import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import Device, Index, Json, TowerBatch
from vialign.cli.printing import json_rows, print_object
from vialign.errors import UserError, printable
from vialign.files.paths import PAGE, Output, check_paths

if TYPE_CHECKING:
    from vialign.collection.store import Head


def index(
    pictures: Annotated[Path, typer.Argument(help="Folder of pictures, in any format that Pillow reads.")],
    out: Annotated[Path, typer.Option(help="Folder of the index; one that is there is brought up to date.")],
    model: Annotated[
        str | None,
        typer.Option(help="An exported folder, or an open_clip name or JSON; the demo where none is said."),
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Weights of a name, or those that an exported folder refers to.")
    ] = None,
    units: Annotated[
        Path | None,
        typer.Option(help="Units of a name, from `vialign signal fit`: phrases are then found in pictures."),
    ] = None,
    batch: TowerBatch = 32,
    device: Device = "cpu",
) -> None:
    """Make a folder of pictures searchable, or bring its index up to date: only new pictures are encoded.

    Moved pictures are known by their content, gone ones are forgotten. An interrupted call goes on where it was.

    Example: `vialign index photos --out index --model exported`
    """
    with one_line_errors():
        check_paths([Output("--out", out, None)], {"PICTURES": pictures, "--units": units})
        if out.resolve() == pictures.resolve() or out.resolve().is_relative_to(pictures.resolve()):
            raise UserError(f"--out: {out}: lies in the folder of the pictures; choose a place beside it")
        from vialign.collection.pinning import open_aligner
        from vialign.collection.store import check_place
        from vialign.collection.updating import update_index

        check_place(out)
        head = _head(pictures, out, model, pretrained, units)
        done = update_index(out, head, open_aligner(head, device), batch)
        for line in done.skipped.lines():
            print(f"vialign: skipped: {printable(line)}", file=sys.stderr)
        for names, text in done.skipped.changes.lines(own=True):
            print(f"vialign: {len(names)} pictures {text} (such as {printable(names[0])})", file=sys.stderr)
        print(f"{out}: {done}")


def search(
    folder: Index,
    words: Annotated[str, typer.Argument(help="What to look for, in quotes.")],
    top: Annotated[int, typer.Option(min=1, help="Pictures to show.")] = 10,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Let the trained method look at the best hundred again.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures in it.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Find the pictures that match some words, with the phrases that were found and how far to trust the first.

    How likely the first is right is known with --rerank alone, or where the exported method is the frozen one.

    Example: `vialign search index "a dog left of a red car" --rerank --html found.html`
    """
    with one_line_errors():
        check_paths([] if html is None else [Output("--html", html, PAGE)], {"INDEX": folder})
        from vialign.collection.searching import Collection, hits_table

        collection = Collection(folder, device)
        answer = collection.search(words, top, rerank)
        if html is not None:
            from vialign.files.artifacts import write_text
            from vialign.report.search import render_search

            write_text(render_search(collection, answer), html)
        if as_json:
            trust = None if answer.trust is None else asdict(answer.trust)
            print_object({"reranked": answer.reranked, "trust": trust, "hits": json_rows(hits_table(answer))})
            return
        for place, hit in enumerate(answer.hits, start=1):
            local = "" if hit.local_rank is None else f"  local {hit.local_rank + 1:>6}"
            print(f"{place:>3}  {hit.score:.3f}{local}  {printable(hit.path)}")
        if answer.trust is not None:
            print(f"the first: {answer.trust}")
        if html is not None:
            print(f"{html}: written")


def serve(
    folder: Index,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 takes a free one.")] = 8377,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = "cpu",
) -> None:
    """Search a collection in the browser: words in, pictures out, explanations on a click. Ends with Ctrl-C.

    The server answers to this machine alone (127.0.0.1), reads nothing outside the index and the folder of its
    pictures, and sends nothing anywhere.

    Example: `vialign serve index --port 8377`
    """
    with one_line_errors():
        from vialign.collection.searching import Collection
        from vialign.report.server import HOST, search_server

        collection = Collection(folder, device)
        with search_server(collection, port) as server:
            address = f"http://{HOST}:{server.server_address[1]}/"
            print(f"{address}: {len(collection)} pictures; Ctrl-C ends it", flush=True)
            if show:
                webbrowser.open(address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("ended")


def _head(pictures: Path, out: Path, model: str | None, pretrained: str | None, units: Path | None) -> "Head":
    """What is asked for, with what an index that is there already says of its model."""
    from vialign.collection.store import HEAD, Head, read_head
    from vialign.names import DEMO

    place = str(pictures.absolute())
    if (out / HEAD).is_file() and model is None and pretrained is None and units is None:
        return read_head(out).model_copy(update={"pictures": place})
    name = DEMO if model is None else model
    named = str(Path(name).absolute()) if Path(name).exists() else name
    weights = pretrained if pretrained is None or not Path(pretrained).is_file() else str(Path(pretrained).absolute())
    return Head(
        pictures=place,
        model=named,
        pretrained=weights,
        units=None if units is None else str(units.absolute()),
        contract={},
        dimension=1,
    )
