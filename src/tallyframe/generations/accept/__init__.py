"""① ② From a request to a promise: what is offered, what it costs, and the one statement that accepts the order."""
