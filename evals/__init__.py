"""Cases with expected outcomes for each capability, made from public facts, and the rules that score an answer against them."""
