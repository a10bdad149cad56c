"""Ratings: one type, where they come from, and ways to hold some back."""
