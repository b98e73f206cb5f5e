"""Trains hearth, the assistant that Whittle ships: tokenizer, model, evaluation and export."""
