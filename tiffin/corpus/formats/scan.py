"""Scanned PDFs by tesseract, if the operator switched it on (`TIFFIN_OCR`).

pdfium draws a page, and tesseract reads it from a pipe and answers on one, because the child
process in which documents are read (`tiffin/corpus/reading.py`) may write no file. It inherits the
limits of that process. Structure is lost but for paragraphs and pages.
"""

import math
import subprocess
from typing import Any

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray

from tiffin.corpus.document import Ocr, Unreadable
from tiffin.corpus.formats.plain import prose
from tiffin.corpus.outline import Outline

DPI, POINTS_AN_INCH = 300, 72
MAX_PIXELS = 25_000_000
"""A larger page is drawn more coarsely: A3 at 300 dpi has 17 million."""
PAGE_S = 60


def read_scan(data: bytes, name: str, ocr: Ocr, outline: Outline) -> None:
    """The text of all pages as they look. Raises Unreadable if tesseract fails."""
    document = pdfium.PdfDocument(data)
    try:
        for number, page in enumerate(document, start=1):
            outline.page = number
            prose(_text(_image(page), name, ocr).replace("\f", ""), outline)
            page.close()
    finally:
        document.close()


def _image(page: Any) -> bytes:  # noqa: ANN401  pypdfium2 has no types
    """A page as a grey PGM image."""
    width, height = page.get_size()
    scale = min(DPI / POINTS_AN_INCH, math.sqrt(MAX_PIXELS / max(1.0, width * height)))
    pixels: NDArray[np.uint8] = page.render(scale=scale, grayscale=True).to_numpy()
    return b"P5 %d %d 255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()


def _text(image: bytes, name: str, ocr: Ocr) -> str:
    try:
        ended = subprocess.run(  # noqa: S603  the operator's program
            [ocr.program, "stdin", "stdout", "-l", ocr.languages, "--dpi", str(DPI)],
            input=image,
            capture_output=True,
            timeout=PAGE_S,
            check=False,
            env={"OMP_THREAD_LIMIT": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise Unreadable(f"{name}: a page took tesseract {PAGE_S} s; leave it out") from error
    if ended.returncode:
        said = " ".join(ended.stderr.decode(errors="replace").split())[:200]
        raise Unreadable(f"{name}: tesseract failed ({said}); see TIFFIN_OCR")
    return ended.stdout.decode(errors="replace")
