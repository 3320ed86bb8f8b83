"""The engine against lm-eval's `hf` model: whole commands, the same requests, CPU seconds and differences."""
