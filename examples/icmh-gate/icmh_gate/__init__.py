"""A bounded gain per channel: a plug-in for icmh-plugins."""
