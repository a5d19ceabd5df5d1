"""The search page and its server: text stays text, and nothing outside the index and its folder is given."""

import os
import socket
from html.parser import HTMLParser
from http.client import HTTPConnection
from threading import Thread

import pytest
from PIL import Image

from indexed import HOSTILE, collection
from vialign.errors import UserError
from vialign.report.search import render_search
from vialign.report.server import HOST, search_server

MARKUP = "a red circle <script>alert(1)</script> \"'> & above"


class Tags(HTMLParser):
    """Tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.said = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said.append(data)


@pytest.fixture(scope="module")
def served():
    with search_server(collection(), 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(served, path, host=None, method="GET"):
    port = served.server_address[1]
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{HOST}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def check_escaped(page):
    parsed = Tags(page)
    assert all(tag not in ("script", "b") for tag, _ in parsed.tags)
    assert not any(name.startswith("on") for _, own in parsed.tags for name in own)
    said = "".join(parsed.said)
    assert MARKUP in said and HOSTILE in said


def test_a_page_is_self_contained_and_escaped():
    page = render_search(collection(), collection().search(MARKUP, top=24))
    check_escaped(page)
    sources = [own["src"] for tag, own in Tags(page).tags if tag == "img"]
    assert len(sources) == 24 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_the_server_searches_and_escapes(served):
    from urllib.parse import urlencode

    status, headers, body = get(served, "/?" + urlencode({"q": MARKUP, "rerank": "1"}))
    assert status == 200
    check_escaped(body.decode())
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; img-src 'self' data:")
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    links = [own["href"] for tag, own in Tags(body.decode()).tags if tag == "a" and own["href"].startswith("/")]
    pictures, explained = ([link for link in links if link.startswith(kind)] for kind in ("/picture", "/explain"))
    assert len(pictures) == 24 and len(explained) == 24
    status, headers, picture = get(served, pictures[0])
    row = int(pictures[0].rsplit("/", 1)[1])
    assert status == 200 and headers["Content-Type"] == "image/png"
    assert picture == collection().file(row).read_bytes()
    status, headers, small = get(served, f"/thumbnail/{row}")
    assert headers["Content-Type"] == "image/jpeg" and small.startswith(b"\xff\xd8")
    status, headers, body = get(served, explained[0])
    assert status == 200 and MARKUP in "".join(Tags(body.decode()).said)
    assert [tag for tag, _ in Tags(body.decode()).tags].count("script") == 1


def test_the_first_page_has_a_form_and_a_bad_query_is_told(served):
    status, _, body = get(served, "/")
    assert status == 200 and any(tag == "input" and own.get("name") == "q" for tag, own in Tags(body.decode()).tags)
    status, _, body = get(served, "/?q=%26nbsp%3B")
    assert status == 400 and "alert" in [own.get("role") for tag, own in Tags(body.decode()).tags]
    status, headers, body = get(served, "/", method="HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 100


@pytest.mark.parametrize("path", ["/?" + "&".join(f"q={n}" for n in range(9)), "/picture/0?" + "x=1&" * 20, "http://["])
def test_an_address_that_cannot_be_read_is_a_bad_request(served, path):
    status, _, body = get(served, path)
    assert status == 400 and "alert" in [own.get("role") for tag, own in Tags(body.decode()).tags]
    status, _, _ = get(served, "/?" + "&".join(f"x{n}=1" for n in range(8)))
    assert status == 200


@pytest.mark.parametrize(
    ("format_", "kind"),
    [
        ("JPEG", "image/jpeg"),
        ("MPO", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", None),
    ],
)
def test_a_picture_comes_as_what_browsers_show(served, format_, kind):
    file = collection().file(3)
    kept, drawn = file.read_bytes(), [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    more = {"save_all": True, "append_images": drawn[1:]} if format_ == "MPO" else {}
    drawn[0].save(file, format_, **more)
    try:
        with Image.open(file) as written:
            assert written.format == format_
        status, headers, body = get(served, "/picture/3")
        assert status == 200 and headers["Content-Type"] == (kind or "image/jpeg")
        assert (body == file.read_bytes()) == (kind is not None)
    finally:
        file.write_bytes(kept)


def test_at_the_port_of_http_a_browser_names_none(served, monkeypatch):
    assert get(served, "/", host="127.0.0.1")[0] == 403
    monkeypatch.setattr(served, "server_port", 80)
    for host in ("127.0.0.1", "localhost", "127.0.0.1:80", "localhost:80"):
        assert get(served, "/", host=host)[0] == 200, host
    for host in ("evil.example", "evil.example:80", "127.0.0.1:8377", "127.0.0.1:"):
        assert get(served, "/", host=host)[0] == 403, host


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/picture/../../secret.txt",
        "/picture/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/picture//etc/passwd",
        "/picture/999999",
        "/picture/-1",
        "/picture/1/../2",
        "/thumbnail/0.jpg",
        "/index.json",
        "/picture/0?x=../..",
    ],
)
def test_no_path_leads_anywhere(served, path):
    status, _, body = get(served, path)
    if path.startswith("/picture/0?"):
        assert status == 200 and body == collection().file(0).read_bytes()
    else:
        assert status == 404 and body == b"not found"


def test_a_link_is_not_followed(served, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    file = collection().file(3)
    kept = file.read_bytes()
    file.unlink()
    os.symlink(secret, file)
    try:
        for kind in ("picture/3", "explain/3?q=a+dog"):
            status, _, body = get(served, f"/{kind}")
            assert status == 404 and b"secret" not in body
    finally:
        file.unlink()
        file.write_bytes(kept)


def test_another_host_is_refused_and_only_this_machine_is_bound(served):
    status, _, body = get(served, "/", host="evil.example")
    assert status == 403 and b"127.0.0.1" in body
    assert served.server_address[0] == "127.0.0.1"
    assert served.socket.getsockname()[0] == "127.0.0.1" and served.socket.family == socket.AF_INET
    with pytest.raises(UserError, match="cannot be had"):
        search_server(collection(), served.server_address[1])
