"""`python -m tests.chaos --rounds N [--seed S] [--kind up|split|kafka]`: that many rounds, each of the seed after."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chaos.plan import KINDS, plan
from tests.chaos.play import play, servers


def main() -> int:
    """Play the rounds; 1 when one of them failed, whose folder is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, help="of the first round [default: random]")
    parser.add_argument("--kind", choices=KINDS, help="one kind of deployment only [default: in turn]")
    wanted = parser.parse_args()
    first = random.randrange(1_000_000) if wanted.seed is None else wanted.seed
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    failed = []
    with servers(root) as both:
        for number in range(wanted.rounds):
            round_ = plan(first + number, wanted.kind)
            folder = root / f"round-{round_.seed}"
            folder.mkdir()
            began = time.monotonic()
            faults = ", ".join(f"{one.how} {one.part} {one.lasts_s} s" for one in round_.faults)
            print(f"round {number + 1}/{wanted.rounds} seed {round_.seed} {round_.kind}: {faults}", flush=True)
            try:
                told = asyncio.run(play(round_, folder, both))
            except Exception:  # the next rounds tell whether it was this one's seed
                traceback.print_exc()
                failed.append(round_.seed)
                told = f"FAILED; its logs are in {folder}"
            print(f"    {told}, {time.monotonic() - began:.1f} s", flush=True)
    print(
        f"{wanted.rounds - len(failed)} of {wanted.rounds} rounds are green" + (f"; failed: {failed}" if failed else "")
    )
    return 1 if failed else 0


sys.exit(main())
