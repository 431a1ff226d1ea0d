"""The harness sees what is there, and its clicks and keys arrive."""

from __future__ import annotations

from pathlib import Path

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.person import Person
from dialog.seen import Widget

FORM = """
import tkinter as tk
from tkinter import ttk

root.title("Form")
root.geometry("500x400+50+60")
name = tk.StringVar(value="")
said = tk.StringVar(value="nothing yet")
entry = ttk.Entry(root, textvariable=name)
entry.pack(fill="x")
ttk.Label(root, textvariable=said).pack()
ttk.Button(root, text="Greet", command=lambda: said.set(f"Hello {name.get()}")).pack()
locked = ttk.Button(root, text="Locked", state="disabled", command=lambda: said.set("unlocked"))
locked.pack()
"""

TABLE = """
import tkinter as tk
from tkinter import ttk

root.title("Table")
said = tk.StringVar(value="-")
ttk.Label(root, textvariable=said).pack()
tree = ttk.Treeview(root, columns=("size", "note"), height=10)
tree.heading("#0", text="Name")
tree.heading("size", text="Size", command=lambda: said.set("by size"))
tree.heading("note", text="Note")
for n in range(200):
    tree.insert("", "end", text=f"row {n}", values=(f"{n} kB", f"a note {n}"))
tree.bind("<<TreeviewSelect>>", lambda _: said.set(tree.item(tree.selection()[0], "text")))
tree.bind("<Double-1>", lambda _: said.set("double"))
tree.pack()
menu = tk.Menu(root, tearoff=False)
menu.add_command(label="Rename", command=lambda: said.set("renaming"))
menu.add_separator()
menu.add_command(label="Delete", state="disabled")
tree.bind("<Button-3>", lambda event: menu.tk_popup(event.x_root, event.y_root))
"""

MODAL = """
import tkinter as tk
from tkinter import ttk

root.title("Host")
root.geometry("300x200+0+0")
host = ttk.Entry(root)
host.pack()
host.focus_set()

def ask():
    window = tk.Toplevel(root)
    window.title("Question")
    window.geometry("300x150+600+500")  # where the pointer is not
    window.transient(root)
    entry = ttk.Entry(window)
    entry.pack()
    entry.focus_set()
    window.bind("<Return>", lambda _: window.destroy())
    window.grab_set()
    root.wait_window(window)

ttk.Button(root, text="Ask", command=ask).pack()
"""


ALL = """
import tkinter as tk
from tkinter import ttk

root.title("All")
root.option_add("*tearOff", False)
bar = tk.Menu(root)
root["menu"] = bar
files = tk.Menu(bar)
bar.add_cascade(label="File", menu=files)
files.add_command(label="Export", command=lambda: text.insert("end", "exported"))
text = tk.Text(root, height=2)
text.insert("end", "two\\nlines ")
on, size = tk.BooleanVar(value=True), tk.StringVar(value="small")
progress = ttk.Progressbar(root, value=30, maximum=60)
keep = [
    text,
    progress,
    ttk.Checkbutton(root, text="Verify", variable=on),
    tk.Checkbutton(root, text="Old verify", variable=on),
    ttk.Combobox(root, textvariable=size, values=["small", "large"], state="readonly"),
    ttk.Entry(root, show="*"),
    ttk.LabelFrame(root, text="Frame", width=90, height=30),
]
for widget in keep:
    widget.pack()
narrow = ttk.Label(root, text="This is too long for its place")
narrow.place(x=0, y=0, width=50)
hidden = ttk.Label(root, text="hidden")
"""


def test_clicks_and_keys_arrive(person: MakePerson) -> None:
    """What is typed into an entry is what a button's command sees."""
    user = person(FORM)
    user.click(user.find(kind="entry"))
    user.type("Zoë €😀 日本 ~/{}")
    assert user.find(kind="entry").focused
    user.click("Greet")
    user.waits_for("Hello Zoë €😀 日本 ~/{}")


def test_keys_of_a_busy_application_arrive_whole(person: MakePerson) -> None:
    """What is typed while the application does not listen is what it gets later."""
    user = person(FORM)
    user.click(user.find(kind="entry"))
    user.run("root.after(100, lambda: __import__('time').sleep(0.7))")
    user.type("aé日b😁ñ")
    user.wait_until(lambda: user.find(kind="entry").value == "aé日b😁ñ", "what was typed")


def test_a_button_that_is_disabled_is_noticed(person: MakePerson) -> None:
    """A click waits until a button is enabled, or is made anyway, and does nothing."""
    user = person(FORM)
    assert not user.find("Locked").enabled
    user.click("Locked", anyway=True)
    user.run("root.after(300, lambda: locked.state(['!disabled']))")
    assert not user.sees("unlocked")
    user.click("Locked")
    user.waits_for("unlocked")


def test_a_table_is_read_and_clicked(person: MakePerson) -> None:
    """Rows, cells and headings are where they are said to be; only visible rows are seen."""
    user = person(TABLE)
    table = user.find(kind="treeview")
    assert (table.total, len(table.rows)) == (200, 10)
    assert [heading.text for heading in table.headings] == ["Name", "Size", "Note"]
    assert table.rows[3].cell("Size").text == "3 kB"
    assert not user.sees("row 42")
    user.click_heading("Size")
    user.waits_for("by size")
    user.click_row("a note 7")
    user.waits_for("row 7")
    assert user.row("row 7").selected
    user.press("Down")
    user.wait_until(lambda: user.row("row 8").selected, "the next row to be selected")
    user.double_click(user.row("row 2").cell("Note"))
    user.waits_for("double")


def test_widgets_of_all_classes_are_read(person: MakePerson) -> None:
    """Values, check marks, menus and lists are seen, and what is cut off, not what is hidden."""
    user = person(ALL)
    progress = user.find(kind="progressbar")
    facts = (progress.value, progress.maximum, progress.mode)
    assert facts == ("30", "60", "determinate")
    assert user.find("Verify").selected
    assert user.find("Old verify").selected
    user.click("Verify")
    user.wait_until(lambda: not user.find("Old verify").selected, "the check mark to go")
    combobox = user.find(kind="combobox")
    assert (combobox.value, combobox.states) == ("small", ("readonly",))
    user.click(combobox)
    user.click_row("large")
    user.wait_until(lambda: user.find(kind="combobox").value == "large", "the choice")
    user.click(user.find(kind="entry"))
    user.type("secret")
    assert user.find(kind="entry").value == "******"
    user.click("File")
    user.click("Export")
    user.wait_until(lambda: user.find(kind="text").value == "two\nlines exported", "the text")
    label = user.find("This is too long")
    assert label.width < label.wanted_width
    assert user.sees("Frame")
    assert not user.sees("hidden")


def test_windows_are_moved_and_resized(person: MakePerson) -> None:
    """The application learns where its window was dragged to, and how large it was made."""
    user = person(FORM)
    user.move_window("Form", 300, 200)
    user.resize_window("Form", 640, 480)
    user.wait_until(lambda: "640x480+300+200" in str(user.look().at(".")), "the new place")
    assert user.run("answer = root.winfo_geometry()") == "640x480+300+200"
    user.click("Greet")
    user.waits_for("Hello")


def test_two_clicks_are_no_double_click(person: MakePerson) -> None:
    """Who clicks twice on the same spot, however fast the machine, clicks twice."""
    user = person(TABLE)
    user.click_row("row 5")
    user.click_row("row 5")
    assert not user.sees("double")
    assert user.sees("row 5")


def test_the_wheel_and_the_menu_of_the_right_button(person: MakePerson) -> None:
    """The wheel brings other rows; the entries of a posted menu are seen and clicked."""
    user = person(TABLE)
    user.scroll(user.find(kind="treeview"), 5)
    user.wait_until(lambda: "row 2" not in user.look().texts(), "other rows")
    user.right_click(user.find(kind="treeview"))
    entries = user.find(kind="menu").entries
    assert [(one.text, one.enabled) for one in entries] == [("Rename", True), ("Delete", False)]
    user.click("Rename")
    user.waits_for("renaming")
    assert not user.sees("Delete")


def test_a_modal_dialog_gets_the_keyboard_and_gives_it_back(person: MakePerson) -> None:
    """Keys go to the dialog that opened, wherever the pointer is, and to its parent afterwards."""
    user = person(MODAL)
    for word in ("one", "two"):
        user.click("Ask")
        entry = user.find(kind="entry", within="Question")
        user.type(word)
        assert user.find(kind="entry", within="Question").value == word
        assert user.find(kind="entry", within="Question").focused
        assert user.look().grab == entry.window
        user.click("Ask", anyway=True)  # the grab keeps the button from doing anything
        user.click(entry)  # but a window manager gave its window the keyboard
        user.press("Return")
        user.wait_until(lambda: not user.sees("Question"), "the dialog to close")
        user.click(user.find(kind="entry", within="Host"))
        user.type(f"{word} ")
    user.wait_until(lambda: user.find(kind="entry").value == "one two ", "what was typed")


def test_keys_go_back_to_the_parent_without_a_click(person: MakePerson) -> None:
    """The button that closes a window closes the dialog; what is typed then is the parent's."""
    user = person(MODAL)
    user.start("ask()")
    user.window("Question")
    user.type("in the dialog")
    user.close_window("Question")
    user.wait_until(lambda: not user.sees("Question"), "the dialog to close")
    user.type("in the host")
    assert user.find(kind="entry").value == "in the host"


def test_a_file_dialog_is_seen_and_used(person: MakePerson, tmp_path: Path) -> None:
    """A dialog that Tcl makes by itself lists files; a path can be typed or clicked."""
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "some.db"
    path.touch()
    user = person(
        "from tkinter import ttk, filedialog\n"
        "said = ttk.Label(root); said.pack()\n"
        "def ask():\n"
        f"    folder = {str(path.parent)!r}\n"
        "    said['text'] = filedialog.askopenfilename(parent=root, initialdir=folder)\n"
        "ttk.Button(root, text='Choose', command=ask).pack()\n"
    )
    for way in ("type", "click"):
        user.run("said['text'] = ''")
        user.click("Choose")
        user.window("Open")
        if way == "type":
            user.type(str(path))
            user.press("Return")
        else:
            user.click_row("some.db", within="Open")
            user.click(user.find("Open", kind="button", within="Open"))
        user.waits_for(str(path))
        user.wait_until(lambda: len(user.look().windows) == 1, "the dialog to close")


def test_a_message_box_is_seen_and_answered(person: MakePerson) -> None:
    """The text of a message box is read, its buttons are clicked."""
    user = person("from tkinter import messagebox")
    user.start("said = messagebox.askyesno('Sure?', 'Delete it?')")
    user.waits_for("Delete it?")
    user.click(user.find("Yes", kind="button", within="Sure?"))
    user.wait_until(lambda: user.run("answer = globals().get('said')"), "the answer")


def test_a_tooltip_is_seen(person: MakePerson) -> None:
    """A window without a frame appears under a pointer that rests, and takes no keyboard."""
    user = person(
        FORM + "def tip(_):\n"
        "    window = tk.Toplevel(root)\n"
        "    window.overrideredirect(True)\n"
        "    window.geometry(f'+{root.winfo_pointerx() + 10}+{root.winfo_pointery() + 10}')\n"
        "    ttk.Label(window, text='press me').pack()\n"
        "locked.bind('<Enter>', tip)\n"
    )
    user.hover("Locked")
    tip = user.find("press me")
    look = user.look()
    assert [window.managed for window in look.windows if window.path == tip.window] == [False]
    assert look.keyboard == user.window("Form").handle


def test_a_main_loop_that_is_blocked_is_measured(person: MakePerson) -> None:
    """The longest time without a tick is told; what the harness itself does is no part of it."""
    user = person(
        FORM + "import time\nttk.Button(root, text='Work', command=lambda: time.sleep(0.3)).pack()"
    )
    user.reset_block()
    user.click("Work")
    user.wait_until(lambda: user.longest_block() > 0.29, "the block")
    user.wait_until(lambda: _measured_anew(user) < 0.29, "a time without a block")


def test_a_program_of_its_own_is_run(person: MakePerson) -> None:
    """A program that makes its own root and main loop is used in the same way."""
    user = person(
        "import tkinter as tk\n"
        "mine = tk.Tk()\nmine.title('Mine')\n"
        "tk.Button(mine, text='Quit', command=mine.destroy).pack()\n"
        "mine.mainloop()\n",
        own_root=True,
    )
    user.window("Mine")
    user.click("Quit")
    user.waits_for_end()
    assert user.look().ended


def test_a_screen_of_200_percent(person: MakePerson, display_192: Display, tmp_path: Path) -> None:
    """With twice the dots per inch, texts are twice as large, and clicks arrive all the same."""
    small = person(FORM).find("Locked")
    user = person(FORM, screen=display_192)
    large: Widget = user.find("Locked")
    assert large.wanted_height > 1.5 * small.wanted_height
    user.click("Greet")
    user.waits_for("Hello")
    assert user.screenshot(tmp_path / "screen.png").stat().st_size > 1000


def _measured_anew(user: Person) -> float:
    user.reset_block()
    return user.longest_block()
