"""The doctor: checks the whole store, reports problems, and repairs what can be repaired."""
