"""Tasks: what a decoded picture is for, and the frozen networks that judge it."""
