"""llama.cpp's own HTTP server on a free port, for as long as standard input is open.

`python server.py MODEL.gguf` prints the server's address once the model is loaded. The server is
that of the llama.cpp project, in C++; the wheel `xllamacpp` carries it.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import xllamacpp


def start(model: str) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"random"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 2  # each has a half of the context
    params.cpuparams.n_threads = 1
    params.ui = False
    params.verbosity = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    server = start(sys.argv[1])
    print(server.listening_address, flush=True)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()
