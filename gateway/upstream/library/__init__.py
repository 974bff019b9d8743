"""The library lane: every provider that litellm knows, through `litellm.acompletion`.

lane.py      the lane: one attempt per call, streamed or not
fields.py    which of the caller's fields reach litellm, under which names
engine.py    litellm itself: imported once, set up, asked; nothing outside this package imports it
wire.py      our transport below litellm's clients: one request per attempt, limits, no redirects
evidence.py  what the provider really sent, read beside litellm: finish reason, usage, errors
verdict.py   which failure an attempt ended with
chunks.py    litellm's objects as OpenAI's JSON
pump.py      a stream's own task, its time limits, and its closing
cohere.py    a reader for Cohere's stream, which litellm cannot read
rehearsal.py canned answers that warm litellm up without a network

litellm lies in places (an invented `stop`, invented usage, swallowed errors, classes that differ
by provider). It is therefore never asked how an attempt went: `evidence` reads the provider's
own bytes as they pass, and litellm only translates.
"""

from gateway.upstream.library.lane import LibraryLane

__all__ = ["LibraryLane"]
