"""Frozen CLIP towers that describe pictures: files, preprocessing, DA-CLIP. Only `open_clip.py` needs open_clip."""
