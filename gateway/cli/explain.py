"""`sluice explain`: what would become of a call, if it were made now?

Asks a running gateway: only that knows the limits that are used up, the calls that are running
and the targets that are sick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request

import click

from gateway.cli.commands import Failure
from gateway.cli.configuration import config_option
from gateway.cli.explained import print_explanation
from gateway.cli.output import json_option, plain, print_json
from gateway.cli.remote import base_url, configured_url, error_message, fetch, parsed

REFUSED = 3
"""The exit status for a call that would be refused."""


@click.command(
    epilog="""\b
Examples:
  sluice explain --model smart --message "Hello"
  sluice explain request.json --json
  sluice explain - --header 'x-sluice-cache: on' < request.json
"""
)
@click.argument("request", type=click.File("rb", lazy=True), required=False)
@click.option("--model", help="The model of a call, in place of REQUEST's.")
@click.option("--message", help="What its user says, in place of REQUEST's messages.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Repeatable.")
@click.option(
    "--key", envvar="SLUICE_API_KEY", metavar="KEY", help="The virtual key; also SLUICE_API_KEY."
)
@click.option(
    "--url",
    envvar="SLUICE_URL",
    help="The gateway; also SLUICE_URL. By default the configured one on this machine.",
)
@json_option
@config_option
@click.pass_context
def explain(
    ctx: click.Context,
    request: Any,
    model: str | None,
    message: str | None,
    headers: Sequence[str],
    key: str | None,
    url: str | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Show what would become of a call: who would answer, at which cost, or why nobody.

    REQUEST is a file with the JSON of a chat completion request; - is standard input. No provider
    is called, and nothing is stored or counted. The exit status is 3 if it would be refused.
    """
    if not key:
        raise click.UsageError("A virtual key is needed: --key, or the variable SLUICE_API_KEY.")
    body = _body(request.read() if request else None, model, message)
    sent = {**_headers(headers), "authorization": f"Bearer {key}"}
    explained = _asked(url or configured_url(config_path), body, sent)
    if as_json:
        print_json(explained)
    else:
        print_explanation(explained)
    if "error" in explained["outcome"]:
        ctx.exit(REFUSED)


def _body(raw: bytes | None, model: str | None, message: str | None) -> bytes:
    """The request as it is, or with what the options replace."""
    if raw is not None and model is None and message is None:
        return raw
    if raw is None and (model is None or message is None):
        raise click.UsageError("Give a file with a request, or both --model and --message.")
    try:
        body = json.loads(raw or b"{}")
    except ValueError as error:
        raise Failure(f"the request is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Failure("the request is not a JSON object")
    if model is not None:
        body["model"] = model
    if message is not None:
        body["messages"] = [{"role": "user", "content": message}]
    return json.dumps(body).encode()


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name or not f"{name}{value}".isprintable():
            raise click.UsageError(f"--header: {text!r} is not NAME:VALUE.")
        headers[name] = value
    return headers


def _asked(url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The gateway's explanation."""
    place = base_url(url) + "/v1/explain"
    request = Request(place, body, {"content-type": "application/json", **headers})  # noqa: S310
    return _explanation(url, *fetch(url, request))


def _explanation(url: str, status: int, text: bytes) -> Mapping[str, Any]:
    data = parsed(text)
    known = data if isinstance(data, dict) else {}
    if status == 200 and known.get("object") == "explanation":
        return known
    message = error_message(data)
    if message is not None:
        raise Failure(f"{status}: {plain(message)}")
    raise Failure(f"what answers at {url} is no gateway that explains calls: {status}")
