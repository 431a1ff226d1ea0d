"""How long it takes to upload a backup to a mirror and to bring it back, and how much memory.

    python3 benchmarks/mirrors.py [--megabytes 1000] [--rounds 3]

A made-up database of random rows is backed up once. Then, in a process of its own each time:
``mirrors.sync()`` to a new place, ``mirrors.fetch()`` into a new directory, and ``restore()``; for
S3 (moto's server on loopback) beside obstore's own ``put`` and ``get`` of the same file, for
``file://`` beside ``shutil.copyfile`` with an fsync. Memory is the process's peak above what it had
before it began. The rounds alternate; medians are printed. SFTP: see ``sftp.py``.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "mirrors"))

from s3_server import ACCESS_KEY, HOST, SECRET_KEY, S3Server, s3_server
from speed import make_database

CHILD = """
import json, os, resource, shutil, sys, time
from pathlib import Path

verb, url, database, directory, source = sys.argv[1:]

def library_put():
    if url.startswith("file:"):
        target = Path(url.removeprefix("file://"), "own")
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    else:
        obstore.put(store, "own", Path(source))

def library_get():
    if url.startswith("file:"):
        shutil.copyfile(Path(url.removeprefix("file://"), "own"), source)
        with open(source, "rb") as file:
            os.fsync(file.fileno())
    else:
        with open(source, "wb") as file:
            for piece in obstore.get(store, "own").stream(min_chunk_size=1024 * 1024):
                file.write(piece)
            os.fsync(file.fileno())

def sync():
    (report,) = manager.mirrors.sync()
    assert report.ok, report

def fetch():
    manager.mirrors.fetch("latest")

def restore():
    manager.restore("latest")

if verb.startswith("library"):
    if not url.startswith("file:"):
        import obstore
        from obstore.store import S3Store
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        store = S3Store(bucket, prefix=prefix, client_options={"allow_http": True})
else:
    from soulsense_db import BackupManager
    manager = BackupManager.from_url(database, directory, mirrors=url, catalog=False)
    manager.list()
before = resource.getrusage(resource.RUSAGE_SELF)
started = time.perf_counter()
globals()[verb]()
elapsed = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"elapsed": elapsed, "memory": (after.ru_maxrss - before.ru_maxrss) / 1024}))
"""
VERBS = ("library_put", "sync", "library_get", "fetch", "restore")


def run(verb: str, url: str, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Run one verb in a process of its own; return what it took."""
    machine = "new" if verb in {"fetch", "restore"} else "old"
    database, directory = folder / machine / "app.db", folder / machine / "backups"
    source = next((folder / "old" / "backups").glob("*.db"))
    source = folder / "got" if verb == "library_get" else source
    words = [verb, url, str(database), str(directory), str(source)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(folder: Path, server: S3Server, megabytes: int, rounds: int) -> None:
    """Measure, and print medians."""
    from soulsense_db import BackupManager
    from soulsense_db.mirrors import mirror_for

    (folder / "old").mkdir()
    make_database(folder / "old" / "app.db", megabytes)
    manager = BackupManager.from_url(str(folder / "old" / "app.db"), catalog=False)
    size = manager.create().size_bytes / 1024 / 1024
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": f"http://{HOST}:{server.port}",
        "AWS_REGION": "us-east-1",
    }
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        place = folder / f"place{number}"
        bucket = server.new_bucket()
        for kind, url in (("s3", f"s3://{bucket}/a"), ("file", f"file://{place}")):
            with mirror_for(url) as mirror:
                mirror.prepare()
            for left in (folder / "new", folder / "got"):
                shutil.rmtree(left, ignore_errors=True)
            (folder / "new").mkdir()
            for verb in VERBS:
                found.setdefault((kind, verb), []).append(run(verb, url, folder, environment))
        shutil.rmtree(place)
        for key in server.keys(bucket):
            server.request("DELETE", f"/{bucket}/{key}")
    print(f"{size:,.0f} MiB, {rounds} rounds\nkind  verb         s      MiB/s  memory MiB")
    for (kind, verb), rows in found.items():
        elapsed = statistics.median(row["elapsed"] for row in rows)
        memory = max(row["memory"] for row in rows)
        print(f"{kind:5} {verb:12} {elapsed:6.2f} {size / elapsed:6.0f} {memory:8.0f}")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, s3_server() as server:
        measure(Path(name), server, options.megabytes, options.rounds)


if __name__ == "__main__":
    main()
