"""Release: approved adapters become bundles on channels, and revocations become feeds."""
