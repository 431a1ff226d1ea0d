"""The dialog as a person has it: a real X server, real clicks and keys, and eyes on the windows.

``person.py`` looks and acts; ``app.py`` is the program that it sits at. Nobody manages the windows:
the person gives the keyboard to a new window, as a window manager would.

It takes Linux, a Python with tkinter, and the packages xvfb, xdotool and any font that scales
(fonts-dejavu-core).
"""
