"""Work in threads, as the windows have it done."""

from __future__ import annotations

from dialog.conftest import MakePerson

_ONE_CLOSES_OTHERS_BEGIN = """
import tkinter as tk
from soulsense_db.dialog.jobs import Workers

called = 0

def _look():
    global called
    called += 1

def open_and_close():
    window = tk.Toplevel(root)

    def close(job):
        window.destroy()
        for _ in range(500):
            root.after(1, _look)

    Workers(window).start(lambda job: None, ended=close)

for _ in range(10):
    open_and_close()
"""


def test_what_closes_a_window_at_the_end_of_its_work_may_begin_anew(person: MakePerson) -> None:
    """No timer is lost that begins in the callback that closes the window.

    Tkinter names a command by the address of a function, which may be free again by then.
    """
    user = person(_ONE_CLOSES_OTHERS_BEGIN)
    user.wait_until(lambda: user.run("answer = called") == 5000, "all of them to be called")
