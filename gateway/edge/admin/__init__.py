"""The admin API: what the gateway's operator sees and changes over HTTP."""
