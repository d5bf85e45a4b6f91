"""The suite's subject models, one definition a file, and the scripts that made their weights and tokenizers."""
