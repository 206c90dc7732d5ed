"""Training adapters on a frozen codec."""
