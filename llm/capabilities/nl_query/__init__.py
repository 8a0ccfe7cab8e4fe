"""Questions in English to queries in ES|QL, SPL and KQL: a grammar first, the model only where it gives up."""
