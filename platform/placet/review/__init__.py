"""Review: people's decisions about verdicts, waivers, and whether they add up to an approval."""
