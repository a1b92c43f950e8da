"""JAX's persistent compilation cache: the next fold or session loads compiled code.

TensorFlow has no such cache. Knows nothing of networks.
"""

import os
from functools import cache
from pathlib import Path

from pneumothorax.errors import warn

FOLDER = "JAX_COMPILATION_CACHE_DIR"  # JAX's own variable, which wins


def find_folder() -> Path:
    """Return the folder of compiled code: that of `FOLDER`, or one in the user's cache folder."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pneumothorax" / "jax"


@cache
def keep_compiled_code() -> None:
    """Turn on JAX's compilation cache; warn if its folder cannot be written.

    Only the first call of a process has an effect. It must come before the first network is compiled.
    """
    import jax

    folder = find_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
        reason = "" if writable else "no permission to write"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        warn(f"compiled code is not kept: {folder} ({reason}); name another folder in {FOLDER}")
        jax.config.update("jax_compilation_cache_dir", None)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
