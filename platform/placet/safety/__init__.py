"""Safety measurement: behavioural probes and leakage of registered canaries."""
