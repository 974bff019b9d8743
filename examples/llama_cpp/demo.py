"""The whole of it: a model, llama.cpp's server, the gateway before it, an OpenAI client.

`python demo.py PYTHON`, where PYTHON is one that has xllamacpp. `./run` sees to that.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openai import OpenAI
from random_model import write_model

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SLUICE = [sys.executable, "-m", "gateway"]


@contextmanager
def started(*command: str, **more: Any) -> Iterator[Iterator[str]]:
    """The lines that a process of ours prints. It ends with the block."""
    with subprocess.Popen(  # noqa: S603 - our own commands
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
    ) as process:
        try:
            yield iter(process.stdout or ())
        finally:
            process.terminate()


@contextmanager
def llama_server(python: str, model: Path) -> Iterator[str]:
    """llama.cpp's server with `model`: its address."""
    with started(python, str(HERE / "server.py"), str(model)) as lines:
        yield next(lines, "").strip() or sys.exit("llama.cpp's server did not start.")


@contextmanager
def gateway(home: Path, environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The gateway with the repository's config.toml, its data in `home`: its address and key."""
    shutil.copy(ROOT / "config.toml", home)
    command = [*SLUICE, "serve", "--port", "0", "--log", "off"]
    with started(*command, cwd=home, env=environment, stderr=subprocess.DEVNULL) as lines:
        greeting = _until("Try it", lines)
        found = re.search(r"http://\S+", greeting)
        yield found[0] if found else sys.exit("The gateway did not start."), _first_key(home)


def _until(text: str, lines: Iterator[str]) -> str:
    """What is printed before the line with `text`."""
    return "".join(takewhile(lambda line: text not in line, lines))


def _first_key(home: Path) -> str:
    lines = (home / "data" / "first-keys").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)["SLUICE_KEY"]


def talk(url: str, key: str) -> None:
    """What any program does that has an OpenAI SDK."""
    with OpenAI(base_url=f"{url}/v1", api_key=key) as client:
        print("models:", ", ".join(model.id for model in client.models.list()))
        print("random: ", end="")
        with client.chat.completions.create(
            model="random",
            messages=[{"role": "user", "content": "Tell me something nobody has ever said."}],
            max_tokens=48,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    print(choice.delta.content or "", end="", flush=True)
                if chunk.usage:
                    print(f"\ntokens: {chunk.usage.completion_tokens} of a real server")


def main(llama_python: str) -> None:
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        write_model(home / "random.gguf")
        with llama_server(llama_python, home / "random.gguf") as address:
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "LLAMACPP_BASE_URL": address,
            }
            print(f"llama.cpp's server: {address}")
            with gateway(home, environment) as (url, key):
                print(f"the gateway: {url}")
                talk(url, key)
            print("ledger:", flush=True)
            report = [*SLUICE, "usage", "--by", "target"]
            subprocess.run(report, cwd=home, env=environment, check=True)  # noqa: S603


if __name__ == "__main__":
    main(sys.argv[1])
