"""⑤ ⑥ How a generation ends: result or refund, withdrawal at the vendor, what the sweeper brings back, and erasing."""
