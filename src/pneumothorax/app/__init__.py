"""A page on this machine: drop radiographs, see what a network finds in them."""
