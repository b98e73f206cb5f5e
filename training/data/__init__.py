"""The data of hearth: sentence templates in, prompts and answers out."""
