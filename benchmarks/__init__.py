"""Commands that measure: against peers, to a goal, part by part, on more machines."""
