"""Kinds of provider: which names does litellm know, and which lane speaks to each by default?

The native lane forwards the client's JSON as it is. That is right where a deployment speaks
OpenAI's own format; many others say "OpenAI-compatible" while litellm has to rewrite parameters
for them (mistral, deepseek, groq, xai, fireworks, perplexity, cerebras, moonshot, openrouter,
sambanova, …), so everything that is not listed as native goes through the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.targets import LaneName


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a kind of provider needs. `name` is litellm's.

    `v1` says that the server's API lives below `/v1`, which people leave out of its address.
    """

    name: str
    lane: LaneName = "library"
    base_url: str | None = None
    needs_base_url: bool = False
    v1: bool = False


def _local(name: str) -> Kind:
    return Kind(name=name, lane="native", needs_base_url=True, v1=True)


_SPECIAL = {
    "echo": Kind(name="echo", lane="echo"),
    "openai": Kind(name="openai", lane="native", base_url="https://api.openai.com/v1"),
    # litellm's `vllm` runs the engine inside this process; a vLLM server is `hosted_vllm`.
    "hosted_vllm": _local("hosted_vllm"),
    "ollama": _local("ollama"),
    "llamafile": _local("llamafile"),
    "lm_studio": _local("lm_studio"),
    "custom_openai": Kind(name="custom_openai", lane="native", needs_base_url=True),
    "azure": Kind(name="azure", needs_base_url=True),
    "azure_ai": Kind(name="azure_ai", needs_base_url=True),
}

_LIBRARY = """
    ai21_chat aiml amazon_nova anthropic baseten bedrock cerebras chutes cloudflare codestral
    cohere_chat cometapi compactifai dashscope databricks datarobot deepinfra deepseek
    docker_model_runner featherless_ai fireworks_ai friendliai galadriel gemini gigachat github
    gradient_ai groq heroku huggingface hyperbolic inception lambda_ai lemonade litellm_proxy
    maritalk meta_llama minimax mistral modelscope moonshot morph nano-gpt nebius novita nscale
    nvidia_nim oci ollama_chat openrouter ovhcloud perplexity poe predibase publicai replicate
    sagemaker_chat sambanova sap scaleway snowflake synthetic together_ai v0 vercel_ai_gateway
    vertex_ai volcengine wandb watsonx xai xinference zai
"""

_OTHER_NAMES = {
    "openai_compatible": "custom_openai",
    "vllm": "hosted_vllm",
    "llamacpp": "llamafile",
    "lmstudio": "lm_studio",
    "cohere": "cohere_chat",
    "fireworks": "fireworks_ai",
    "together": "together_ai",
    "google": "gemini",
    "vertex": "vertex_ai",
    "sagemaker": "sagemaker_chat",
}

_BY_LITELLM = {name: Kind(name=name) for name in _LIBRARY.split()} | _SPECIAL

KINDS: Mapping[str, Kind] = _BY_LITELLM | {
    name: _BY_LITELLM[litellm_name] for name, litellm_name in _OTHER_NAMES.items()
}
"""Every name that `kind` may have: litellm's, and the ones that people expect."""
