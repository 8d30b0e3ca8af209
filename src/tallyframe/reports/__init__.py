"""Reads for operators and /metrics: how generations went and what waits. No part of the story."""
