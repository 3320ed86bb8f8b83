"""Training of LoRA adapters: a recipe that names all that goes in, and a run that can be interrupted."""
