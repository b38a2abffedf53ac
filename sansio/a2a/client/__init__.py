"""The client side of the protocol: requests, answers, errors and the transcript that a person reads."""
