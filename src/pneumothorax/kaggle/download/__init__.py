"""The competition's files: fetched, checked and unpacked."""
