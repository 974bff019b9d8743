"""What litellm's own calculator says, in a process of its own. Cases in, dollars out, as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

for switch in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"):
    os.environ[switch] = "True"
os.environ["LITELLM_MODE"] = "PRODUCTION"

import litellm  # noqa: E402  (after the switches that keep it off the network)
from litellm._internal_context import pinned_billing_time  # noqa: E402
from litellm.types.utils import (  # noqa: E402
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)

litellm.disable_hf_tokenizer_download = True


def usage_of(counts: dict[str, int]) -> Usage:
    """A usage as litellm's transformations build one from a provider's answer."""
    written, written_1h = (
        counts.get("cache_write_tokens", 0),
        counts.get("cache_write_1h_tokens", 0),
    )
    lifetimes = CacheCreationTokenDetails(
        ephemeral_5m_input_tokens=written - written_1h, ephemeral_1h_input_tokens=written_1h
    )
    return Usage(
        prompt_tokens=counts["prompt_tokens"],
        completion_tokens=counts["completion_tokens"],
        total_tokens=counts["prompt_tokens"] + counts["completion_tokens"],
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=counts.get("cached_tokens", 0),
            cache_creation_tokens=written,
            cache_creation_token_details=lifetimes if written else None,
            audio_tokens=counts.get("prompt_audio_tokens", 0),
            image_tokens=counts.get("prompt_image_tokens", 0),
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            reasoning_tokens=counts.get("reasoning_tokens", 0),
            audio_tokens=counts.get("completion_audio_tokens", 0),
            image_tokens=counts.get("completion_image_tokens", 0),
        ),
    )


def dollars(kind: str, model: str, usage: dict[str, Any]) -> float | None:
    counts = {name: value for name, value in usage.items() if name != "service_tier"}
    try:
        return sum(
            litellm.cost_per_token(
                model=model,
                custom_llm_provider=kind,
                usage_object=usage_of(counts),
                prompt_tokens=counts["prompt_tokens"],
                completion_tokens=counts["completion_tokens"],
                service_tier=usage.get("service_tier"),
            )
        )
    except Exception:  # noqa: BLE001  (whatever it raises, it gives no price)
        return None


def main() -> None:
    request = json.load(sys.stdin)
    logging.disable(logging.CRITICAL)
    answers = []
    moment = datetime.fromtimestamp(request["at_s"], UTC)
    with contextlib.redirect_stdout(io.StringIO()), pinned_billing_time(moment):
        for kind, model in request["models"]:
            answers.append([dollars(kind, model, usage) for usage in request["usages"]])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
