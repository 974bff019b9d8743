"""Do our kinds exist in litellm?"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from gateway.kinds import KINDS


def litellm_names() -> set[str]:
    """litellm's provider names, from its source: importing it costs three seconds."""
    package = importlib.util.find_spec("litellm")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "types" / "utils.py").read_text("utf-8")
    enum = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "LlmProviders"
    )
    return {
        node.value.value
        for node in enum.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def test_every_kind_but_echo_is_a_provider_of_litellm() -> None:
    names = {kind.name for kind in KINDS.values()} - {"echo"}
    assert len(names) > 50
    assert names <= litellm_names()
