"""Nothing that goes wrong in an application or in a test of it is lost."""

from __future__ import annotations

import pytest

from dialog.conftest import MakePerson
from dialog.test_harness import FORM


def test_what_is_not_there_fails_with_what_is(
    person: MakePerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure lists what is visible, and there is a picture of it."""
    user = person(FORM)
    monkeypatch.setattr("dialog.person.SECONDS", 0.2)
    with pytest.raises(AssertionError, match=r"(?s)button 'Go'.*TButton 'Greet'.*failure-1\.png"):
        user.find("Go", kind="button")
    assert (user.folder / "failure-1.png").read_bytes().startswith(b"\x89PNG")


def test_two_of_the_same_are_ambiguous(person: MakePerson) -> None:
    """A button is not chosen at random."""
    user = person(FORM + "\nttk.Button(root, text='Greet').pack()")
    with pytest.raises(AssertionError, match="2 times a button 'Greet'"):
        user.find("Greet", kind="button")


def test_an_error_in_a_callback_fails(person: MakePerson) -> None:
    """An exception that tkinter would only print ends the test, and tells where it was."""
    user = person(
        "import tkinter\ntkinter.Button(root, text='Divide', command=lambda: 1 / 0).pack()"
    )
    user.click("Divide")
    with pytest.raises(AssertionError, match=r"(?s)setup\.py.*ZeroDivisionError"):
        user.waits_for("the result")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        user.close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("thread(lambda: 1 / 0)", "ZeroDivisionError"),
        ("thread(lambda: root.title('mine'))", "Tk was called in the thread"),
        ("thread(lambda: root.tk.call('no_such'))", "TclError"),
        ("thread(keep.clear)", "__del__"),
        ("root.tk.eval('after 0 no_such')", "Tcl: invalid command name"),
        ("print('left over')", "left over"),
        ("__import__('warnings').warn('old')", "UserWarning"),
        ("__import__('os')._exit(3)", "ended with 3"),
    ],
)
def test_what_goes_wrong_anywhere_fails(person: MakePerson, code: str, told: str) -> None:
    """Errors of threads, destructors and Tcl, all that is printed, and a crash fail the test."""
    user = person(
        "import threading, tkinter\n"
        "keep = [tkinter.StringVar(root)]\n"
        "thread = lambda do: threading.Thread(target=do).start()\n"
    )
    user.start(code)
    user.look()
    with pytest.raises(AssertionError, match=told):
        user.close()


def test_a_setup_that_fails_is_told(person: MakePerson) -> None:
    """An application that cannot start fails the test with its traceback."""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        person("1 / 0")


def test_an_application_that_hangs_is_told(
    person: MakePerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that does not answer fails the test, and tells where it hangs."""
    user = person("import time\ndef long():\n    time.sleep(60)\n")
    user.start("long()")
    monkeypatch.setattr("dialog.application.SECONDS", 0.5)
    with pytest.raises(AssertionError, match=r"(?s)did not answer.*in long"):
        user.look()
    with pytest.raises(AssertionError, match="did not answer"):
        user.close()
