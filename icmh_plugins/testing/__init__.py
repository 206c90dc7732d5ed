"""Codecs to test against, and checks for authors of plug-ins."""
