"""The failure matrix: every system call at which an operation can die or fail, and more.

``python -m pytest tests/faults`` runs all of it and writes the table in docs/reliability.md; as a
part of the whole suite a sample of it runs, chosen by a seed that is printed.
"""
