"""The few requests to the X server that neither Tk nor xdotool makes.

The application makes them in its own process. Keys are bound by a process of their own, as Xlib
ends a process whose server is gone: ``python x11.py <text>``.
"""

from __future__ import annotations

import ctypes
import sys

# The keysym of a character that has none of its own.
_UNICODE = 0x01000000
_LATIN_1 = 0x100
_CLIENT_MESSAGE = 33


class _ClientMessage(ctypes.Structure):
    """What a window manager sends to a window; padded to the size of any event."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    )


class XServer:
    """A connection of its own to the server that ``DISPLAY`` names."""

    def __init__(self) -> None:
        self._xlib = xlib = ctypes.CDLL("libX11.so.6")
        xlib.XOpenDisplay.restype = ctypes.c_void_p
        xlib.XInternAtom.restype = ctypes.c_ulong
        xlib.XGetKeyboardMapping.restype = ctypes.POINTER(ctypes.c_ulong)
        self._display = ctypes.c_void_p(xlib.XOpenDisplay(None))
        if not self._display:
            raise OSError("there is no X server")

    def parent(self, window: int) -> int:
        """Return the window that ``window`` lies in: of a Tk toplevel, the one others see."""
        root, parent = ctypes.c_ulong(), ctypes.c_ulong()
        children, count = ctypes.c_void_p(), ctypes.c_uint()
        references = (ctypes.byref(variable) for variable in (root, parent, children, count))
        self._xlib.XQueryTree(self._display, ctypes.c_ulong(window), *references)
        if children:
            self._xlib.XFree(children)
        return parent.value

    def keyboard(self) -> int:
        """Return the window that keys go to: 0 for none, 1 for the one under the pointer."""
        window, revert = ctypes.c_ulong(), ctypes.c_int()
        self._xlib.XGetInputFocus(self._display, ctypes.byref(window), ctypes.byref(revert))
        return window.value

    def ask_to_close(self, window: int) -> None:
        """Send what a window manager sends when the button that closes a window is clicked."""
        event = _ClientMessage(_CLIENT_MESSAGE, 0, 1, self._display, window)
        event.message_type, event.format = self._atom(b"WM_PROTOCOLS"), 32
        event.data[0] = self._atom(b"WM_DELETE_WINDOW")
        self._xlib.XSendEvent(self._display, ctypes.c_ulong(window), 0, 0, ctypes.byref(event))
        self._xlib.XSync(self._display, 0)

    def bind_keys(self, text: str) -> None:
        """Give each character of ``text`` a key, until another text needs it.

        xdotool does so only while it types: an application that is busy then looks the key up when
        it means something else again.
        """
        first, last, each = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._xlib.XDisplayKeycodes(self._display, ctypes.byref(first), ctypes.byref(last))
        keys = last.value - first.value + 1
        mapping = self._xlib.XGetKeyboardMapping(
            self._display, ctypes.c_ubyte(first.value), keys, ctypes.byref(each)
        )
        rows = [mapping[key * each.value : (key + 1) * each.value] for key in range(keys)]
        free = [first.value + key for key, row in enumerate(rows) if not any(row)]
        bound = {symbol for row in rows for symbol in row}
        wanted = dict.fromkeys(
            ord(one) if ord(one) < _LATIN_1 else _UNICODE + ord(one) for one in text
        )
        earlier = [
            first.value + key
            for key, row in enumerate(rows)
            if row[0] >= _UNICODE and row[0] not in wanted
        ]
        # From the end: xdotool takes the first free one for a modifier or a key of its own. When
        # there are no others, those of texts that were typed before.
        places = free[:1] + earlier + free[1:]
        for symbol in wanted:
            if symbol not in bound:
                symbols = (ctypes.c_ulong * 2)(symbol, symbol)
                self._xlib.XChangeKeyboardMapping(self._display, places.pop(), 2, symbols, 1)
        self._xlib.XSync(self._display, 0)

    def _atom(self, name: bytes) -> int:
        return int(self._xlib.XInternAtom(self._display, name, 0))


if __name__ == "__main__":
    XServer().bind_keys(sys.argv[1])
