"""A plugin of age (https://c2sp.org/age-plugin) that hides nothing: the key stands in the header.

age_plugin.py --age-plugin=recipient-v1|identity-v1

To open, it asks whatever a plugin can ask, and goes by the PIN, which is 1234; with 0000 it dies.
"""

from __future__ import annotations

import base64
import sys

KIND = "demo"
PIN = b"1234"


def receive() -> tuple[list[str], bytes]:
    """Return the next message: its words, and what it carries."""
    words = sys.stdin.readline().split()[1:]
    text = ""
    while True:
        line = sys.stdin.readline().rstrip("\n")
        text += line
        if len(line) < 64:
            return words, base64.b64decode(text + "=" * (-len(text) % 4))


def send(*words: str, data: bytes = b"") -> tuple[list[str], bytes]:
    """Send a message, and return the answer."""
    text = base64.b64encode(data).decode().rstrip("=")
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    sys.stdout.write("\n".join(["-> " + " ".join(words), *lines, ""]))
    sys.stdout.flush()
    return receive() if words != ("done",) else ([], b"")


messages = []
while (message := receive())[0] != ["done"]:
    messages.append(message)
if sys.argv[1].endswith("recipient-v1"):
    for words, data in messages:
        if words[0] == "wrap-file-key":
            send("recipient-stanza", "0", KIND, data=data)
else:
    send("msg", data=b"Touch the device.")
    send("confirm", "WWVz", "Tm8", data=b"Is it you?")
    send("request-public", data=b"Your name")
    pin = send("request-secret", data=b"PIN of the device")[1]
    if pin == b"0000":
        sys.exit(1)
    for words, data in messages:
        if words[0] == "recipient-stanza" and words[2] == KIND and pin == PIN:
            send("file-key", words[1], data=data)
send("done")
