"""The event log and its adapters."""
