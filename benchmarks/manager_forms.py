"""How long create, verify and restore take in each form, and how much memory.

    python3 benchmarks/manager_forms.py [--megabytes 1000] [--rounds 3]

A made-up database of a journal app is backed up by a manager, in a process of its own each time:
plain, zstd, differential (1% of the rows changed since its base), each also encrypted for a key,
and zstd encrypted with a passphrase. Beside them the measure: a plain create, and the program
``zstd -T2`` on its result. Memory is the process's peak above what it had before it began. The
rounds alternate; medians are printed. It needs the extras zstd and age, and the program zstd.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from backup_forms import live_a_day, make_database

CHILD = """
import json, resource, sys, time
from soulsense_db import BackupManager
from soulsense_db.codecs import Identities, Secret

url, directory, options, verb = sys.argv[1:]
options = json.loads(options)
if options.pop("passphrase", None):
    secret = Secret.from_callable(lambda: "correct horse battery staple")
    options |= {"recipients": "passphrase", "identities": Identities(passphrase=secret)}
manager = BackupManager.from_url(url, directory, catalog=False, **options)
manager.list()
before = resource.getrusage(resource.RUSAGE_SELF)
started = time.perf_counter()
if verb == "create":
    manager.create()
elif verb == "verify":
    manager.verify("latest")
else:
    manager.restore("latest")
elapsed = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "elapsed": elapsed,
    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "memory": (after.ru_maxrss - before.ru_maxrss) / 1024,
    "stored": manager.get("latest").size_bytes / 1024 / 1024,
}))
"""
VERBS = ("create", "verify", "restore")


def run(database: Path, directory: Path, options: dict[str, object], verb: str) -> dict[str, float]:
    """Run one verb in a process of its own; return what it took."""
    arguments = [f"sqlite:///{database}", str(directory), json.dumps(options), verb]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def program(database: Path, directory: Path) -> dict[str, float]:
    """Create a plain backup and compress it with the program zstd; return what both took."""
    found = run(database, directory, {}, "create")
    backup = next(directory.glob("*.db"))
    started, before = time.perf_counter(), os.times()
    subprocess.run([shutil.which("zstd") or "zstd", "-q", "-3", "-T2", str(backup)], check=True)
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    elapsed = time.perf_counter() - started
    return found | {"elapsed": found["elapsed"] + elapsed, "cpu": found["cpu"] + cpu}


def main() -> None:
    """Print a line for each form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="manager-forms-"))
    try:
        measure(folder, given.megabytes, given.rounds)
    finally:
        shutil.rmtree(folder)


def forms_with_key(folder: Path) -> dict[str, dict[str, object]]:
    """Return the options of each form."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    key = folder / "key.txt"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n")
    sealed = {"recipients": [str(identity.to_public())], "identities": str(key)}
    return {
        "plain": {},
        "zstd": {"compression": "zstd"},
        "differential": {"differential": True},
        "age": dict(sealed),
        "zstd, age": {"compression": "zstd", **sealed},
        "differential, age": {"differential": True, **sealed},
        "zstd, passphrase": {"compression": "zstd", "passphrase": True},
    }


def measure(folder: Path, megabytes: int, rounds: int) -> None:
    """Measure all forms, one after the other in each round."""
    database = folder / "app.db"
    make_database(database, megabytes)
    forms = forms_with_key(folder)
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        results.setdefault(("plain + zstd -T2", "create"), []).append(
            program(database, folder / "program")
        )
        shutil.rmtree(folder / "program")
        for name, options in forms.items():
            directory = folder / "backups"
            if options.get("differential"):
                run(database, directory, options, "create")
                live_a_day(database, 0.01)
            for verb in VERBS:
                results.setdefault((name, verb), []).append(run(database, directory, options, verb))
            shutil.rmtree(directory)
    print(f"{database.stat().st_size / 1024 / 1024:,.0f} MiB; medians of {rounds}\n")
    print("| form | verb | elapsed s | CPU s | of the program's | memory MiB | stored MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    measures = results["plain + zstd -T2", "create"]
    for (name, verb), found in results.items():
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        ratio = statistics.median(
            one["elapsed"] / other["elapsed"] for one, other in zip(found, measures, strict=True)
        )
        print(
            f"| {name} | {verb} | {median['elapsed']:.2f} | {median['cpu']:.2f} | {ratio:.2f} "
            f"| {median['memory']:.0f} | {median['stored']:.1f} |"
        )


if __name__ == "__main__":
    main()
