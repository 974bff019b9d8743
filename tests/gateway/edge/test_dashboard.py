"""The dashboard's files: what is answered at which path, and what may stand in them?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import build_app
from gateway.edge.dashboard import FILES, HEADERS, HOME, MEDIA_TYPES, Dashboard

MODULES = sorted(FILES.rglob("*.js"))
STYLES = sorted(FILES.rglob("*.css"))
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def nothing(scope: object, receive: object, send: object) -> None: ...


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    parts = ("chat", "explain", "models", "live", "ready", "metrics")
    app = build_app(**dict.fromkeys(parts, nothing), admin=Dashboard().routes())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        yield client


async def test_a_browser_is_led_to_the_dashboard(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, HOME)


async def test_a_client_with_a_wrong_base_url_is_told_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"accept": "application/json"})
    assert answer.status_code == 404
    assert "base URL" in answer.json()["error"]["message"]


async def test_every_page_has_the_same_frame(client: httpx.AsyncClient) -> None:
    pages = {path.stem for path in (FILES / "js" / "pages").glob("*.js")}
    assert pages == Dashboard().pages
    frames = {(await client.get(f"{HOME}/{page}")).text for page in pages}
    assert frames == {(await client.get(HOME)).text} == {(FILES / "index.html").read_text("utf-8")}


@pytest.mark.parametrize(
    "path",
    [
        f"{HOME}/nothing",
        f"{HOME}/",
        f"{HOME}/files/",
        f"{HOME}/files/js",
        f"{HOME}/files/js/pages/../../index.html/..",
        f"{HOME}/files/../edge/dashboard.py",
        f"{HOME}/files/%2e%2e/config.py",
        f"{HOME}/files//etc/passwd",
        f"{HOME}/files/js/main.js/",
    ],
)
async def test_nothing_else_is_answered(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(httpx.URL("http://gateway.test").copy_with(raw_path=path.encode()))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"]


async def test_every_file_comes_with_its_type_and_all_headers(client: httpx.AsyncClient) -> None:
    files = [path for path in FILES.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        answer = await client.get(f"{HOME}/files/{path.relative_to(FILES).as_posix()}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == MEDIA_TYPES[path.suffix]
        assert HEADERS.items() <= dict(answer.headers).items()


async def test_a_known_file_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get(f"{HOME}/files/js/main.js")
    known = {"if-none-match": first.headers["etag"]}
    again = await client.get(f"{HOME}/files/js/main.js", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    other = await client.get(f"{HOME}/files/js/dom.js", headers=known)
    assert other.status_code == 200


async def test_only_reading_is_possible(client: httpx.AsyncClient) -> None:
    for path in ("/", HOME, f"{HOME}/files/js/main.js"):
        assert (await client.post(path)).status_code == 405
        assert (await client.head(path, headers=BROWSER)).status_code in (200, 303)


def test_no_script_and_no_style_is_inline() -> None:
    assert "'unsafe" not in HEADERS["content-security-policy"]
    frame = (FILES / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", frame)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", frame))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FILES).as_posix())
def test_a_module_puts_text_in_as_text(path: Path) -> None:
    """What models, callers and providers say must never be read as markup or as code."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\b|new Function|srcdoc|setHTML|javascript:"
        r"""|["']style["']\s*,|cssText|set(?:Timeout|Interval)\(["'`]"""
    )
    assert re.findall(forbidden, path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FILES).as_posix())
def test_a_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) < 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(FILES).as_posix())
def test_what_is_imported_is_there(path: Path) -> None:
    for source, names in imports(path.read_text("utf-8")):
        target = (path.parent / source).resolve()
        assert target.is_relative_to(FILES), source
        text = target.read_text("utf-8")
        exported = set(re.findall(r"export (?:async )?(?:function\*?|const|class) (\w+)", text))
        assert names <= exported


def imports(text: str) -> list[tuple[str, set[str]]]:
    found = re.findall(r'^import \{([^}]*)\} from "([^"]+)";$', text, re.MULTILINE)
    assert len(found) == text.count("\nimport ") + text.startswith("import ")
    return [
        (source, {name.split(" as ")[0].strip() for name in names.split(",")})
        for names, source in found
    ]


def test_nothing_comes_from_elsewhere() -> None:
    """A closed network: no address of another host, but for the name of SVG itself."""
    for path in (*MODULES, *STYLES, *FILES.glob("*.html")):
        found = set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+""", path.read_text("utf-8")))
        assert found <= {"http://www.w3.org"}, path
        assert "@import" not in path.read_text("utf-8")


def test_every_class_that_is_given_has_a_rule() -> None:
    """A class without a rule is a misspelt one, or left over."""
    styles = "\n".join(path.read_text("utf-8") for path in STYLES)
    ruled = set(re.findall(r"\.([a-z][\w-]*)", styles))
    given = {
        name
        for path in MODULES
        for text in re.findall(r'class: "([^"]+)"', path.read_text("utf-8"))
        for name in text.split()
    }
    assert given - ruled == set()
