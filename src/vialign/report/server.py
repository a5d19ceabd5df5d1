"""The search page as a small server for this machine alone: words in, pictures out, an explanation on a click.

Bound to 127.0.0.1. Nothing is addressed by a path: a picture is a number of the index, whose file must lie in the
folder and be no link. A request that came under another host's name is refused, so that no page of the network can
speak to it through the browser.
"""

import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTP_PORT
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import cast
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from vialign.collection.searching import Collection
from vialign.collection.store import thumbnail
from vialign.errors import UserError, one_line
from vialign.report.explain import render_explanation
from vialign.report.search import served_search

HOST = "127.0.0.1"
LONGEST = 400
"""Characters of a query."""
_TOP = 30
_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_PLACE = re.compile(r"/(thumbnail|picture|explain)/(\d{1,9})")
_FIELDS = 8
"""Of a query, at most."""
_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # what many phones write: a JPEG with another behind it
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
}
"""Formats that browsers show, and as what; others come as their small picture."""


def search_server(collection: Collection, port: int) -> ThreadingHTTPServer:
    """A server that is bound and not yet running; port 0 takes a free one. Raises UserError where it is taken."""
    lock = Lock()

    class Handler(_Handler):
        index, working = collection, lock

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise UserError(
            f"serve: port {port} of {HOST} cannot be had ({error.strerror}); choose another --port"
        ) from None


def own_names(port: int) -> frozenset[str]:
    """What a browser calls a server of this machine; at the port of HTTP itself it leaves the number out."""
    ports = (f":{port}", "") if port == HTTP_PORT else (f":{port}",)
    return frozenset(f"{name}{end}" for name in (HOST, "localhost") for end in ports)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    index: Collection
    working: Lock
    """One search at a time: the model is not made for several."""
    server_version = "vialign"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a request; whatever goes wrong is one line in the page and in the log."""
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            pass
        except UserError as error:
            self._page(served_search(self.index, problem=str(error)), HTTPStatus.BAD_REQUEST)
        except Exception as error:
            print(f"vialign: serve: {one_line(error)}", file=sys.stderr)
            self._page(served_search(self.index, problem="This went wrong; the console says why."), HTTPStatus(500))

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a search is nobody's business."""

    def _answer(self) -> None:
        port = cast(ThreadingHTTPServer, self.server).server_port
        if self.headers.get("Host", "") not in own_names(port):
            self._text("refused: this server answers to 127.0.0.1 alone", HTTPStatus.FORBIDDEN)
            return
        try:
            asked = urlsplit(self.path)
            query = parse_qs(asked.query, max_num_fields=_FIELDS)
        except ValueError as error:
            raise UserError(f"serve: this address cannot be read ({one_line(error)}); search from the page") from None
        found = _PLACE.fullmatch(asked.path)
        if asked.path == "/":
            self._search(query)
        elif found is None or int(found[2]) >= len(self.index):
            self._text("not found", HTTPStatus.NOT_FOUND)
        else:
            ways: dict[str, Callable[[int, dict[str, list[str]]], None]] = {
                "thumbnail": self._thumbnail,
                "picture": self._picture,
                "explain": self._explain,
            }
            ways[found[1]](int(found[2]), query)

    def _search(self, query: dict[str, list[str]]) -> None:
        words = query.get("q", [""])[0][:LONGEST].strip()
        rerank = "rerank" in query
        if not words:
            self._page(served_search(self.index))
            return
        with self.working:
            answer = self.index.search(words, _TOP, rerank)
        self._page(served_search(self.index, answer, rerank=rerank))

    def _explain(self, picture: int, query: dict[str, list[str]]) -> None:
        file = self.index.file(picture)
        if file is None:
            self._text("the picture is gone", HTTPStatus.NOT_FOUND)
            return
        words = query.get("q", [""])[0][:LONGEST]
        with self.working:
            page = render_explanation(self.index.aligner.explain(file, words), {"index": str(self.index.folder)})
        self._page(page, policy=None)

    def _thumbnail(self, picture: int, query: dict[str, list[str]]) -> None:
        file = thumbnail(self.index.folder, str(self.index.pictures["content"].iloc[picture]))
        if not file.is_file() or file.is_symlink():
            self._text("not found", HTTPStatus.NOT_FOUND)
            return
        self._send(file.read_bytes(), "image/jpeg")

    def _picture(self, picture: int, query: dict[str, list[str]]) -> None:
        file = self.index.file(picture)
        if file is None:
            self._text("the picture is gone", HTTPStatus.NOT_FOUND)
            return
        with Image.open(file) as image:
            kind = _TYPES.get(image.format or "")
        if kind is None:
            self._thumbnail(picture, query)
        else:
            self._send(file.read_bytes(), kind)

    def _text(self, text: str, status: HTTPStatus) -> None:
        self._send(text.encode(), "text/plain; charset=utf-8", status)

    def _page(self, page: str, status: HTTPStatus = HTTPStatus.OK, policy: str | None = _POLICY) -> None:
        self._send(page.encode(), "text/html; charset=utf-8", status, policy)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, policy: str | None = _POLICY) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "X-Content-Type-Options": "nosniff"}
        headers |= {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        headers |= {} if policy is None else {"Content-Security-Policy": policy}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
