"""Create an object at a mirror once a line comes in: URL, key, data. Print who created it."""

from __future__ import annotations

import sys

from soulsense_db.mirrors import mirror_for

with mirror_for(sys.argv[1]) as mirror:
    list(mirror.list_objects())  # connected
    print("ready", flush=True)
    for number in map(int, sys.stdin):
        print(mirror.create(f"{sys.argv[2]}{number}", sys.argv[3].encode()), flush=True)
