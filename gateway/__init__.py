"""The machine: wire formats, upstream lanes, stores, and the HTTP edge. `policies` decides."""

__version__ = "0.1.0"
