"""What several protocols share: the calls that run them, metrics, logistic regression."""
