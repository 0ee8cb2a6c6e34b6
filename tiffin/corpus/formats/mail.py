"""E-mail (RFC 5322) by the standard library. Attachments are named, and not read."""

from email import message_from_bytes, policy

from tiffin.corpus.formats.html import html_text
from tiffin.corpus.formats.plain import decode, prose
from tiffin.corpus.outline import Outline

_SHOWN = ("From", "To", "Cc", "Date", "Subject")


def read_mail(data: bytes, name: str, charset: str | None, outline: Outline) -> None:
    """Who wrote what to whom, the subject as a heading; the plain body before the HTML one."""
    mail = message_from_bytes(data, policy=policy.default)
    outline.heading(1, str(mail["Subject"] or ""), said=False)
    outline.add("\n".join(f"{field}: {mail[field]}" for field in _SHOWN if mail[field]))
    body = mail.get_body(preferencelist=("plain", "html"))
    if body is not None and body.get_content_maintype() == "text":
        raw = body.get_payload(decode=True)
        declared = body.get_content_charset() or charset
        text = decode(raw if isinstance(raw, bytes) else b"", name, declared)
        if body.get_content_subtype() == "html":
            html_text(text, outline)
        else:
            prose(text, outline)
    attached = [part.get_filename() for part in mail.iter_attachments()]
    if named := ", ".join(filter(None, attached)):
        outline.add(f"Attachments: {named}")
