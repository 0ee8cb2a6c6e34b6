"""What `/v1/decisions` is worth on public sets."""
