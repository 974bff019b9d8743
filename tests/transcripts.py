"""Transcripts for tests: random ones that a provider would take."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/x.png", "detail": "high"}}
TEXTS = st.sampled_from(
    [
        "Hi.",
        "What is the weather in Oslo?",
        "吾輩は猫である。名前はまだ無い。",
        "猫 and cat",
        "x" * 900,
    ]
)


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


@st.composite
def transcripts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """System or developer messages anywhere, turns with text, CJK, images, and parallel tools."""
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 7))):
        if draw(st.integers(0, 2 if number else 1)) == 0:
            messages.append(message(draw(st.sampled_from(["system", "developer"])), draw(TEXTS)))
        messages.append(message("user", draw(st.one_of(TEXTS, st.lists(_parts(), max_size=3)))))
        for step in range(draw(st.integers(0, 2))):
            messages += draw(_tools(f"{number}.{step}"))
        if draw(st.booleans()):
            messages.append(message("assistant", draw(TEXTS)))
    return messages


def _parts() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.just(IMAGE), st.builds(lambda text: {"type": "text", "text": text}, text=TEXTS)
    )


@st.composite
def _tools(draw: st.DrawFn, name: str) -> list[dict[str, Any]]:
    """An assistant's calls of tools, and their results in any order."""
    ids = [f"call_{name}.{number}" for number in range(draw(st.integers(1, 3)))]
    function = {"name": "lookup", "arguments": '{"place": "Oslo"}'}
    calls = [{"id": i, "type": "function", "function": function} for i in ids]
    results = [message("tool", draw(TEXTS), tool_call_id=i) for i in draw(st.permutations(ids))]
    return [message("assistant", None, tool_calls=calls), *results]
