"""One file a page: load one view model, draw it, call one use case."""
