"""Pictures: rate-accuracy plots, bit and spectrum maps, the HTML report."""
