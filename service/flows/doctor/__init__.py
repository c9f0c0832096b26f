"""The doctor: looks at the whole store, says what is wrong, and mends what can be mended."""
