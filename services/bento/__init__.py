"""Every seam into BentoML, uvicorn and circus, one a file."""
