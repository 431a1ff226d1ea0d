"""A screen that nobody sees: Xvfb, what xdotool does on it, and pictures of it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from helpers import clean_environment

from dialog import x11

_SECONDS = 20
_XWD_HEADER = "!25I"
_NO_LIST = 12  # bytes of a colour in the file's list of colours


def missing() -> str:
    """Return what keeps this machine from running these tests; nothing if it can."""
    if sys.platform != "linux":
        return "clicks and keys are sent on Linux only"
    for tool in ("Xvfb", "xdotool"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    try:
        import tkinter  # noqa: F401 - Python may be built without it
    except ImportError:
        return "this Python has no tkinter"
    return ""


class Display:
    """An X server of its own, on a number that was free."""

    def __init__(self, *, width: int = 1280, height: int = 1024, dpi: int = 96) -> None:
        self.width, self.height, self.dpi = width, height, dpi
        self._folder = Path(tempfile.mkdtemp(prefix="dialog-display-"))
        self._bound: set[str] = set()
        reading, writing = os.pipe()
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                # Without auto-repeat (-r): a key that a busy machine releases late is one key. With
                # -noreset: it begins anew when its last client goes, and refuses the next one.
                [
                    *(*_tied(), "Xvfb", "-displayfd", str(writing), "-r", "-noreset"),
                    *("-nolisten", "tcp"),
                    *("-screen", "0", f"{width}x{height}x24", "-dpi", str(dpi)),
                    *("-fbdir", str(self._folder)),
                ],
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            log_text = (self._folder / "log").read_text(errors="replace")
            self.close()
            raise OSError(f"Xvfb did not start: {log_text}")
        self.name = f":{number}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of now, for what is to be shown here."""
        # Tk and xdotool know no character beyond ASCII otherwise.
        return clean_environment() | {"DISPLAY": self.name, "LC_ALL": "C.UTF-8"}

    def xdotool(self, *arguments: object, check: bool = True) -> None:
        """Run xdotool; what it did has reached the server when it returns."""
        command = ["xdotool", *map(str, arguments)]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        ended = f"; Xvfb ended with {code}" if (code := self._server.poll()) is not None else ""
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{ended}"

    def bind_keys(self, text: str) -> None:
        """Make sure that there is a key for each character of ``text``."""
        wanted = {one for one in text if not one.isascii()}
        if not wanted <= self._bound:
            subprocess.run(
                [sys.executable, x11.__file__, "".join(sorted(wanted))],
                env=self.env,
                check=True,
                timeout=_SECONDS,
            )
            self._bound = wanted

    def screenshot(self, path: Path) -> Path:
        """Write what is on the screen to a PNG file."""
        # The server keeps the screen in a file: a header, its own size first, colours, pixels.
        data = (self._folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack_from(_XWD_HEADER, data)
        width, height, line, colours = header[4], header[5], header[12], header[19]
        start = header[0] + colours * _NO_LIST
        pixels = data[start : start + height * line]
        rgb = bytearray(width * height * 3)
        for place, offset in enumerate((2, 1, 0)):
            rgb[place::3] = pixels[offset::4]
        rows = b"".join(b"\0" + rgb[n * width * 3 : (n + 1) * width * 3] for n in range(height))
        form = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", form), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))
        return path

    def close(self) -> None:
        """End the server."""
        self._server.terminate()
        try:
            self._server.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _tied() -> list[str]:
    """Return the command before a command that ends it when this process is killed."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def _chunk(name: bytes, data: bytes) -> bytes:
    """Return a part of a PNG file."""
    return struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))
