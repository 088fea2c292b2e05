"""For web frameworks and their neighbours.  Nothing here is imported by the daemon."""
