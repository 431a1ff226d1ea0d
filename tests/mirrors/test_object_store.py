"""An object store keeps what every mirror promises, over a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from s3_server import S3Server, use_server

from soulsense_db.mirrors import Mirror, MirrorUrl, mirror_for
from soulsense_db.testing import MirrorSuite


class TestS3Mirror(MirrorSuite):
    """A prefix in a bucket."""

    bad_urls: ClassVar[tuple[str, ...]] = (
        "s3://",
        "s3:///prefix",
        "s3://me@bucket/prefix",
        "s3://bucket:80/prefix",
        "s3://bucket/a//b",
        "s3://bucket/./b",
    )
    # The store compares what it got with what was sent, byte by byte; what was sent is compared
    # with the file while it is read.
    compares_contents = False
    many = 1100
    prefix = "pre/fix"

    @pytest.fixture(autouse=True)
    def server(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Iterator[None]:
        """Let the environment lead to the server."""
        self.s3 = s3
        use_server(monkeypatch, s3, tmp_path)
        yield

    def make_mirror(self) -> Mirror:
        """Return a mirror in a new bucket."""
        return mirror_for(f"s3://{self.s3.new_bucket()}/{self.prefix}", timeout=20)

    def missing(self, mirror: Mirror) -> Mirror:
        """Return a mirror in no bucket: any prefix is a place."""
        return mirror_for("s3://no-such-bucket/prefix", timeout=20)

    def leftovers(self, mirror: Mirror) -> list[str]:
        """Return the uploads that were neither completed nor aborted."""
        return ["an upload"] * self.s3.uploads(mirror.url.host)


class TestS3BucketMirror(TestS3Mirror):
    """A bucket as a whole."""

    prefix = ""

    def make_mirror(self) -> Mirror:
        """Return a mirror in a new bucket, without a prefix."""
        return type(mirror_for("s3://b"))(MirrorUrl.of(f"s3://{self.s3.new_bucket()}"), timeout=20)
