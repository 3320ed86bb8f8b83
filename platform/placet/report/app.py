"""How the review app is served: to this machine alone, reporting to nobody, nothing from other hosts."""

from __future__ import annotations

ADDRESS = "127.0.0.1"

STREAMLIT_FLAGS: tuple[str, ...] = (
    f"--server.address={ADDRESS}",
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--server.enableXsrfProtection=true",
    "--server.maxUploadSize=1",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
    "--client.showErrorDetails=none",
    "--theme.light.primaryColor=#23569b",
    "--theme.dark.primaryColor=#3a75c4",
    "--theme.dark.backgroundColor=#0e1117",
    "--theme.dark.secondaryBackgroundColor=#1b212b",
)
"""Flags for ``streamlit run`` beside the port; they win over a user's own Streamlit configuration."""
