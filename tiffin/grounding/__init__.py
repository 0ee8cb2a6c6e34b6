"""What an answer may say: evidence, whether it answers, quotes, and the support of a sentence."""
