"""Run folders and images -> masks."""
