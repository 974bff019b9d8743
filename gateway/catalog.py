"""The catalog: what is known of a provider's models, before anyone asks the provider?

Knowledge comes from litellm's bundled table, read as data (litellm itself is not imported), and
is corrected by `[model_info]`. The table is a plain mapping from keys such as `gpt-4o`,
`azure/gpt-4o` or `anthropic.claude-…` to entries; an entry belongs to the provider that its
`litellm_provider` names, and is never taken for another's.

`chat` entries are models for every lane. `responses` entries are models for the library lane
only: litellm translates for them, OpenAI's own `/chat/completions` refuses them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from gateway import figures
from gateway.config import ConfigError, ModelInfo
from gateway.targets import Model, Provider
from gateway.terms import price_under_terms
from gateway.tokenizers import tokenizer_of

Entry = Mapping[str, Any]

_TABLE = "model_prices_and_context_window_backup.json"
_CHAT = "/v1/chat/completions"
_MODELS_KEPT = 1024

# litellm's other names for the same provider; `vertex_ai-…` is handled by its prefix.
_FAMILIES = {
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "ollama_chat": "ollama",
    "sagemaker_chat": "sagemaker",
}
_ECHO: Entry = {
    "mode": "chat",
    "max_output_tokens": 16_384,
    figures.INPUT: 0,
    figures.OUTPUT: 0,
    "supports_vision": True,
    "supports_audio_input": True,
    "supports_function_calling": True,
    "supports_response_schema": True,
    "supports_reasoning": False,
}
# Google counts prompt and completion apart; elsewhere `max_input_tokens` is the whole window …
_SEPARATE_WINDOWS = frozenset({"gemini", "vertex_ai"})
# … but for OpenAI's models whose entry states the window less the completion.
_OPENAI_WINDOWS = frozenset({128_000, 400_000, 1_050_000})
_OPENAI = frozenset({"openai", "azure"})
# Families that bill no token which they do not show; with thinking, only where it is asked for.
_SHOW_ALL = re.compile(
    r"gpt-3\.5|gpt-4|claude-3|llama|mixtral|ministral|gemma|command-r|nova-(micro|lite|pro)",
    re.IGNORECASE,
)
# In these, a slash leads to a region's price; it is no part of a model's name.
_REGIONAL = frozenset({"bedrock", "azure"})


def load_table() -> dict[str, Any]:
    """litellm's bundled table: 3 MB, about 15 ms and 6 MB of memory."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(["litellm is not installed; its price table is needed"])
    table: dict[str, Any] = orjson.loads(
        Path(spec.submodule_search_locations[0], _TABLE).read_bytes()
    )
    return table


def family_of(kind: str) -> str:
    """The provider behind a kind: litellm has several names for some."""
    return "vertex_ai" if kind.startswith("vertex_ai") else _FAMILIES.get(kind, kind)


class Catalog:
    """Knowledge of models by provider. `model_info` is the configuration's, by `provider/model`."""

    def __init__(self, table: Mapping[str, Entry], model_info: Mapping[str, ModelInfo]) -> None:
        """Raises `ConfigError` where `model_info` names unknown figures or an unknown `like`."""
        self._by_family = _by_family(table)
        self._by_family["echo"] = {"echo": _ECHO, "echo-slow": _ECHO}
        self._correct(model_info)

    def _correct(self, model_info: Mapping[str, ModelInfo]) -> None:
        problems = list(self._faults(model_info))
        if problems:
            raise ConfigError(problems)
        self._model_info = model_info
        self._models: dict[tuple[str, str], Model] = {}

    @classmethod
    def load(cls, model_info: Mapping[str, ModelInfo]) -> Catalog:
        """The catalog over litellm's bundled table."""
        return cls(load_table(), model_info)

    def corrected(self, model_info: Mapping[str, ModelInfo]) -> Catalog:
        """A catalog over the same table with other corrections. Raises `ConfigError`."""
        catalog = copy(self)
        catalog._correct(model_info)
        return catalog

    def model(self, provider: Provider, name: str) -> Model:
        """What is known of `name` at `provider`; a model that nobody knows has None everywhere."""
        key = (provider.name, name)
        model = self._models.get(key)
        if model is None:
            if len(self._models) >= _MODELS_KEPT:
                del self._models[next(iter(self._models))]
            model = self._models[key] = self._build(provider, name)
        return model

    def knows(self, kind: str, name: str, *, responses: bool = False) -> bool:
        """Does the table have this chat model? `responses`: those of OpenAI's other API as well."""
        family = family_of(kind)
        entry = self._find(family, name)
        return entry is not None and _offered(family, name, entry, responses)

    def entry(self, kind: str, name: str) -> Entry | None:
        """What the table itself says of a model at a kind of provider."""
        return self._find(family_of(kind), name)

    def names(self, kind: str, *, responses: bool = False) -> list[str]:
        """The table's chat models of a kind of provider, sorted."""
        family = family_of(kind)
        found = self._by_family.get(family, {})
        return sorted(n for n, entry in found.items() if _offered(family, n, entry, responses))

    def _find(self, family: str, name: str) -> Entry | None:
        known = self._by_family.get(family, {})
        entry = known.get(name)
        if entry is None and name.startswith("ft:"):
            # A fine-tuned model costs what its base's fine-tunes cost: ft:BASE:ORG::ID.
            entry = known.get(":".join(name.split(":")[:2]))
        return entry

    def _build(self, provider: Provider, name: str) -> Model:
        family = family_of(provider.kind)
        region = provider.options.get("aws_region_name")
        entry = self._find(family, f"{region}/{name}") or self._find(family, name) or {}
        info = self._model_info.get(f"{provider.name}/{name}")
        if info is None:
            return _model(provider, family, name, entry)
        if info.like is not None:
            family, entry = self._like(info.like) or (family, entry)
        model = _model(provider, family, name, _repriced(entry, info))
        known_as = info.like or name
        tokenizer, hidden = tokenizer_of(known_as), _hidden_reasoning(entry, known_as)
        return _corrected(replace(model, tokenizer=tokenizer, hidden_reasoning=hidden), info)

    def _like(self, name: str) -> tuple[str, Entry] | None:
        """`like` names a model as `kind/model`, or as the table does where that has no slash."""
        kind, _, model = name.partition("/")
        entry = self._find(family_of(kind), model)
        if entry is not None:
            return family_of(kind), entry
        families = (f for f in self._by_family if name in self._by_family[f])
        return next(((f, self._by_family[f][name]) for f in families), None)

    def _faults(self, model_info: Mapping[str, ModelInfo]) -> Iterator[str]:
        for name, info in model_info.items():
            where = f'model_info."{name}"'
            if info.like is not None and self._like(info.like) is None:
                yield f'{where}.like = "{info.like}": no such model in the table'
            for figure in info.price:
                if not figures.is_figure(figure):
                    yield f"{where}.price.{figure}: not a price per token"


def _by_family(table: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """Chat models by family and name; a key with the provider's prefix goes before one without."""
    found: dict[str, dict[str, Entry]] = {}
    for key, entry in table.items():
        if not _is_chat(entry):
            continue
        family = family_of(entry["litellm_provider"])
        first, slash, rest = key.partition("/")
        prefixed = bool(slash) and first.replace("-", "_") == family
        names = found.setdefault(family, {})
        if prefixed:
            names[rest] = entry
        else:
            names.setdefault(key, entry)
    return found


def _is_chat(entry: Entry) -> bool:
    # A text-completion or an image model may still answer chats; its entry then says so.
    if "litellm_provider" not in entry:
        return False
    mode = entry.get("mode")
    return mode in ("chat", "responses") or _CHAT in entry.get("supported_endpoints", ())


def _offered(family: str, name: str, entry: Entry, responses: bool) -> bool:
    if family in _REGIONAL and "/" in name:
        return False
    if name == "container" or name.startswith("together-ai-"):
        return False  # prices of a sandbox and of size classes, no models
    return responses or entry.get("mode") != "responses"


def _repriced(entry: Entry, info: ModelInfo) -> Entry:
    """A price with both base figures replaces the table's; less than that corrects single ones."""
    if not info.price:
        return entry
    whole = figures.INPUT in info.price and figures.OUTPUT in info.price
    kept: Iterable[str] = (n for n in entry if not (whole and _is_charge(n)))
    return {name: entry[name] for name in kept} | dict(info.price)


def _is_charge(name: str) -> bool:
    return "cost" in name or "pricing" in name or "multiplier" in name


def _model(provider: Provider, family: str, name: str, entry: Entry) -> Model:
    window, prompt, completion = _windows(family, entry)
    return Model(
        name=name,
        context_window=window,
        max_prompt_tokens=prompt,
        max_completion_tokens=completion,
        vision=_supports(entry, "vision", "image"),
        audio=_supports(entry, "audio_input", "audio"),
        tools=_supports(entry, "function_calling"),
        json_schema=_supports(entry, "response_schema"),
        hidden_reasoning=_hidden_reasoning(entry, name),
        tokenizer=tokenizer_of(name),
        price=price_under_terms(provider, family, entry),
    )


def _windows(family: str, entry: Entry) -> tuple[int | None, int | None, int | None]:
    """Whole window, prompt and completion. `max_tokens` alone may be either limit: unknown."""
    prompt, completion = entry.get("max_input_tokens"), entry.get("max_output_tokens")
    if prompt is None:
        return None, None, completion
    if family in _SEPARATE_WINDOWS:
        return None, prompt, completion
    if family in _OPENAI and prompt + (completion or 0) in _OPENAI_WINDOWS:
        return prompt + completion, prompt, completion
    return prompt, prompt, completion


def _supports(entry: Entry, ability: str, modality: str | None = None) -> bool | None:
    """What the entry says; a missing word is no denial."""
    stated = entry.get(f"supports_{ability}")
    if stated is None and modality in entry.get("supported_modalities", ()):
        return True
    return None if stated is None else bool(stated)


def _hidden_reasoning(entry: Entry, name: str) -> bool | None:
    """The table forgets to say so of many models that reason, so its silence says nothing."""
    stated = _supports(entry, "reasoning")
    return False if stated is None and entry and _SHOW_ALL.search(name) else stated


def _corrected(model: Model, info: ModelInfo) -> Model:
    names = ("context_window", "max_prompt_tokens", "max_completion_tokens")
    counting = ("tokenizer", "characters_per_token", "max_image_tokens")
    abilities = ("vision", "audio", "tools", "json_schema", "hidden_reasoning")
    given = {
        name: value
        for name in (*names, *counting, *abilities)
        if (value := getattr(info, name)) is not None
    }
    return replace(model, **given)
