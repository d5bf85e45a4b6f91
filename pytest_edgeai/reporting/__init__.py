"""Reports: the same outcome for people and for machines, on the terminal and in files."""
