"""Plug-ins: what they may offer, how they are loaded, and who offers what. No torch here."""
