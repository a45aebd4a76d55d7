"""Signed traffic as Kick and Twitch send it, made from a seed: for `simulate`, `demo`, drills and benchmarks.

`traffic.py` makes deliveries and what each one means, `bodies.py` spells them as the platforms do, `signing.py` signs
them, `totals.py` adds up what the API must show, `sender.py` posts them. Only `sender.py` does I/O.
"""
