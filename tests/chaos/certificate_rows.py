"""A provider whose certificate has expired is not trusted; other tiers answer in its place."""

import asyncio
import datetime as dt
import json
import ssl
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.chaos.row import Row, misses
from tests.chaos.size import Size
from tests.chaos.stand import Guarded
from tests.chaos.storage_rows import said

ASKED = 10
DAY = dt.timedelta(days=1)


def certificate(folder: Path, *, ends: dt.datetime) -> Path:
    """A certificate for localhost that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - 30 * DAY)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{ends:%Y%m%d}.pem"
    path.write_bytes(made.public_bytes(pem) + secret)
    return path


@asynccontextmanager
async def behind_tls(file: Path, target: int) -> AsyncGenerator[int, None]:
    """A port of loopback that speaks TLS and forwards to another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        pumps = [_pump(reader, far_writer), _pump(far_reader, writer)]
        await asyncio.wait(map(asyncio.create_task, pumps), return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


async def expired(stand: Guarded, _: Size) -> AsyncGenerator[Row, None]:
    """The same certificate authority is trusted throughout; first valid, then past its end."""
    provider = int(stand.provider.url.rsplit(":", 1)[1])
    key = stand.keys.create("certificates")
    usual = stand.environment["TIFFIN_PROVIDERS"]
    ends: dict[str, Counter[str]] = {}
    asked_s = 0.0
    for name, until in (("valid", dt.datetime.now(dt.UTC) + DAY), ("expired", _yesterday())):
        file = certificate(stand.directory, ends=until)
        async with behind_tls(file, provider) as port:
            card = json.loads(usual)
            card["large"]["base_url"] = f"https://localhost:{port}"
            await stand.restart_entry(TIFFIN_PROVIDERS=json.dumps(card), SSL_CERT_FILE=str(file))
            stand.provider.forget()
            began = asyncio.get_running_loop().time()
            for model in ("large", "auto-quality"):
                ends[f"{name} {model}"] = await _ask(stand.url, key, model)
            asked_s = (asyncio.get_running_loop().time() - began) / (2 * ASKED)
            asked = len(stand.provider.requests)
    log = (stand.directory / "serve.log").read_text(errors="replace")
    told = [line for line in log.splitlines() if "certificate" in line and "expired" in line]
    del stand.environment["SSL_CERT_FILE"]
    await stand.restart_entry(TIFFIN_PROVIDERS=usual)
    stand.keys.revoke("certificates")
    shown = "; ".join(f"{what}: {said(end)}" for what, end in ends.items())
    yield Row(
        "a provider's certificate has expired",
        "nothing is sent to it; its tier by name: a typed 503 that names the cause in the log; "
        "another tier answers where there is a choice",
        f"{shown}, {asked_s * 1000:.0f} ms each; the provider read {asked} requests; the log says "
        f"so in {len(told)} lines",
        misses(
            valid=set(ends["valid large"]) == {"200 large"},
            typed=all(end.startswith("503") for end in ends["expired large"]),
            failover=set(ends["expired auto-quality"]) == {"200 small"},
            not_sent=asked == 0,
            told=bool(told),
        ),
    )


def _yesterday() -> dt.datetime:
    return dt.datetime.now(dt.UTC) - DAY


async def _ask(url: str, key: str, model: str) -> Counter[str]:
    """How chats ended: the status, and the tier that answered."""
    ends: Counter[str] = Counter()
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(base_url=url, headers=headers) as session:
        for number in range(ASKED):
            content = f"Prove that {number} * 7 = {number * 7}, step by step."
            body = {"model": model, "messages": [{"role": "user", "content": content}]}
            async with session.post("/v1/chat/completions", json=body) as response:
                await response.read()
            ends[f"{response.status} {response.headers.get('x-tiffin-tier', '')}".strip()] += 1
    return ends
