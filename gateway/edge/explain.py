"""`POST /v1/explain`: what would become of this call, if it were made now?

The body, the headers and the path are those of a call; no provider is called, and nothing changes.
A call that would be refused is explained too, with status 200: the refusal is the explanation.
Only who presents no key that works, and what is no request, gets an error.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from gateway.config import Config
from gateway.edge.asgi import ClientLeft, new_call_id, send_error, send_json
from gateway.edge.chat import Refused
from gateway.edge.incoming import Incoming
from gateway.edge.visits import Visits
from gateway.errors import Draining, SluiceError
from gateway.exchange import JSON, Call, Handler, Stream
from gateway.explanation import explanation
from gateway.health import Health
from gateway.trace import Identified, Trace


class Explain:
    """The endpoint. `path` is that of the calls; `refused` hears of errors."""

    def __init__(
        self, path: Handler, config: Config, visits: Visits, health: Health, refused: Refused
    ) -> None:
        self._path = path
        self._incoming = Incoming(config)
        self._visits = visits
        self._health = health
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call_id = new_call_id()
        headers = {"x-request-id": call_id}
        try:
            if self._visits.draining:
                raise Draining("This gateway process is shutting down. Try again at once.")
            call = await self._incoming.call(scope, receive, call_id, Trace(), dry_run=True)
            explained = await self.explain(call)
        except ClientLeft:
            return
        except SluiceError as error:
            self._refused(error)
            await send_error(send, error, headers)
            return
        await send_json(send, explained, headers)

    async def explain(self, call: Call) -> JSON:
        """The explanation of a call with `dry_run`. Raises what no call of a known key gets."""
        refusal: SluiceError | None = None
        try:
            reply = await self._path(call)
        except SluiceError as error:
            if call.trace.last(Identified) is None:
                raise
            refusal = error
        else:
            if isinstance(reply, Stream):
                await reply.aclose()
        return explanation(call, refusal, self._health)
