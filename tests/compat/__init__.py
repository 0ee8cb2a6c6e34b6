"""What public clients can do with Tiffin: every call that they offer, and what became of it.

`python -m tests.compat` (`make compat`) runs one script a client against a real stack and writes
docs/compatibility.md; tests/e2e/test_compatibility.py holds the page to what happens.
"""
