"""One module, one function; the file's name is the function's name. Thin: what to do is decided in ``shared``."""
