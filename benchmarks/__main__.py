"""`python -m benchmarks`: the engine against lm-eval's own `hf` model."""

from benchmarks.engine import main

if __name__ == "__main__":
    main()
