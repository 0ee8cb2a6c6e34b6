"""Who answers: which LLM tier a request goes to, why, and which comes next if it fails."""
