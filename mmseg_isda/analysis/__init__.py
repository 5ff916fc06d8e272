"""The paper's analyses: pure functions on features, labels, weights and statistics, and one command on top of them."""
