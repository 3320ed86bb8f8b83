"""The demo: the whole way of four real adapters and five broken submissions, on this machine."""
