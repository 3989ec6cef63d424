"""Feature records → a static site that opens from the file system, and what serves it; knows no model."""
