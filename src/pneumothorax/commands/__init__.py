"""The commands: each finds its inputs in the workspace, calls one stage and prints the result.

Results go to stdout, progress and warnings to stderr.
"""
