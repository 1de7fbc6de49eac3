"""What one does with finished runs."""
