"""Documents generated from the table of settings and the commands; no file is read or written."""
