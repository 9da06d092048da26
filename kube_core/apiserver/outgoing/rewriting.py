"""Making what a backend answers lead through the server again: redirects, and the links of HTML pages.

A link is changed when its path is absolute and its host is none, the backend's, or the one that the client asked; the
prefix of the `proxy` path is then put before it. All else stays byte for byte as it came. Upstream's rules are those
of its proxy transport, down to which attributes of which elements hold links.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import re
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from kube_core.abc.transport import Request, Response

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Answer
    from kube_core.apiserver.outgoing.passing import Route

__all__ = ["rewrite_html", "rewrite_url", "rewritten"]

#: From a link to what it is to be.
Rewrite = Callable[[str], str]

#: Longer pages pass as they are, in bytes.
LONGEST_PAGE = 8 * 1024 * 1024
_LINKS: Mapping[str, frozenset[str]] = {
    element: frozenset(attributes.split())
    for element, attributes in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
_TAG = re.compile(r"""<!--.*?-->|<([a-z][^\s/>]*)((?:[^>"']|"[^"]*"|'[^']*'){0,20000}+)>""", re.DOTALL | re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")
#: Elements whose content is no markup.
_OPAQUE = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "textarea", "title")}


async def rewritten(answer: Answer, headers: list[tuple[str, str]], request: Request, route: Route) -> Response:
    """The answer as the client gets it."""
    host, backend = request.headers.get("host", ""), route.address.authority

    def changed(url: str) -> str:
        return rewrite_url(url, route.prefix, backend=backend, host=host)

    headers = [(name, changed(value) if name.lower() == "location" else value) for name, value in headers]
    encoding = answer.header("content-encoding").lower()
    is_page = answer.header("content-type").partition(";")[0].strip() == "text/html"
    if not is_page or request.method == "HEAD" or encoding not in ("", "identity", "gzip", "deflate"):
        return Response(answer.status, stream=answer.body, passed_headers=headers)
    from kube_core.apiserver.outgoing.client import Unreachable

    size = answer.header("content-length")
    if size.isdigit() and int(size) > LONGEST_PAGE:
        return Response(answer.status, stream=answer.body, passed_headers=headers)
    page = await answer.read(LONGEST_PAGE)
    try:
        body = await asyncio.to_thread(_rewrite_body, page, encoding, changed)
    except zlib.error as error:
        raise Unreachable(f"errors reading the content: {error}") from error
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    return Response(answer.status, body=body, passed_headers=[*kept, ("Content-Length", str(len(body)))])


def rewrite_url(url: str, prefix: str, *, backend: str, host: str) -> str:
    """A link as it leads through the server. `backend` and `host` are `host:port`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if (parts.netloc and parts.netloc not in (backend, host)) or not parts.path.startswith("/"):
        return url
    scheme, netloc = (parts.scheme, parts.netloc) if parts.netloc == host else ("", "")
    path = parts.path
    quoted = quote(prefix, safe="/:@!$&'()*+,;=~-._")
    if not path.startswith(quoted):
        path = quoted.rstrip("/") + path
    return urlunsplit((scheme, netloc, path, parts.query, parts.fragment))


def rewrite_html(page: str, changed: Rewrite) -> str:
    """A page with its links changed."""
    pieces, position = [], 0
    while (tag := _TAG.search(page, position)) is not None:
        pieces.append(page[position : tag.start()])
        position = tag.end()
        element = (tag[1] or "").lower()
        links = _LINKS.get(element)
        pieces.append(tag[0] if links is None else _rewrite_tag(tag, links, changed))
        if element in _OPAQUE and (end := _OPAQUE[element].search(page, position)) is not None:
            pieces.append(page[position : end.start()])
            position = end.start()
    return "".join([*pieces, page[position:]])


def _rewrite_tag(tag: re.Match[str], links: frozenset[str], changed: Rewrite) -> str:
    def attribute(match: re.Match[str]) -> str:
        name, equals, value = match.groups()
        if name.lower() not in links:
            return match[0]
        mark = value[0] if value[0] in "\"'" else ""
        link = html.unescape(value.strip(mark) if mark else value)
        new = changed(link)
        if new == link:
            return match[0]
        return f"{name}{equals}{mark or chr(34)}{html.escape(new)}{mark or chr(34)}"

    return f"<{tag[1]}{_ATTRIBUTE.sub(attribute, tag[2])}>"


def _rewrite_body(body: bytes, encoding: str, changed: Rewrite) -> bytes:
    # Bytes beyond ASCII, of whatever charset, go through this unchanged.
    if encoding == "gzip":
        body = _inflate(body, 16 + zlib.MAX_WBITS)
    elif encoding == "deflate":
        body = _inflate(body, -zlib.MAX_WBITS)
    text = rewrite_html(body.decode("latin-1"), changed).encode("latin-1", "xmlcharrefreplace")
    if encoding == "gzip":
        return gzip.compress(text)
    if encoding == "deflate":
        return zlib.compress(text, wbits=-zlib.MAX_WBITS)
    return text


def _inflate(body: bytes, window: int) -> bytes:
    inflater = zlib.decompressobj(window)
    page = inflater.decompress(body, LONGEST_PAGE)
    if inflater.unconsumed_tail:
        raise zlib.error("the page is too long")
    return page
