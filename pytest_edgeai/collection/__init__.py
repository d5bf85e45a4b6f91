"""Between pytest and the matrix: from options, hooks and markers to parametrized items, and how trials run as items."""
