"""Stock by SKU: pieces on the shelf and pieces promised to orders."""
