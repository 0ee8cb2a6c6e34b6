"""What happens to a question: passages, retrieval, prompt, generation, citations; a stage a file.

`rag.RagPipeline` runs the stages in order; `values` is what goes in and comes out.
"""
