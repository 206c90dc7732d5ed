"""Placement of Adapt-ICMH on SmallTIC: a plug-in for icmh-plugins."""
