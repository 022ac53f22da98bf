"""Images in: file formats, sources, transforms, and the order in which training sees them."""
