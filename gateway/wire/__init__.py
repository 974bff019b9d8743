"""The public formats: OpenAI's JSON and server-sent events, in and out."""
