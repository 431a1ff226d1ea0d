"""Close the application's window while work in a thread goes on; then let that end.

window_closed_at_work.py DATABASE create|verify|compare|export
"""

from __future__ import annotations

import gc
import sys
import threading
import tkinter
from tkinter import filedialog
from typing import Any

from soulsense_db import BackupManager
from soulsense_db.dialog import open_backup_dialog

database, work = sys.argv[1:]
begun, go_on = threading.Event(), threading.Event()


def main() -> None:
    """Open the windows, begin the work, close them; leave nothing that refers to them."""
    root = tkinter.Tk()
    manager = BackupManager.from_url(database)
    info = manager.create("first")
    whole = getattr(manager, work)

    def wait(*arguments: Any, **options: Any) -> Any:
        begun.set()
        go_on.wait()
        gc.collect()  # Python may do so in any thread
        return whole(*arguments, **options)

    setattr(manager, work, wait)
    window = open_backup_dialog(root, manager)
    window.table.select(info.path)
    doing = {
        "create": lambda: window.actions.create("late"),
        "verify": window.actions.verify,
        "compare": window.actions.restore,
        "export": window.actions.export,
    }
    filedialog.asksaveasfilename = lambda **_: database + ".copy"

    def look() -> None:
        if window.table.selection and work in doing:
            doing.pop(work)()
        if begun.is_set():
            root.destroy()
        else:
            root.after(20, look)

    look()
    root.mainloop()


gc.disable()
main()
filedialog.asksaveasfilename = None  # type: ignore[assignment]
print("gone", flush=True)
sys.stdin.readline()
go_on.set()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
