"""What each command does: finds its inputs in the workspace, calls one stage, says what came of it.

Results go to stdout, progress and warnings to stderr.
"""
