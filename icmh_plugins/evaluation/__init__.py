"""Measuring: real rates, scores, Bjontegaard deltas with intervals, complexity."""
