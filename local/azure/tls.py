"""A TLS server that asks for a client certificate and lets every answer in.

Azure's IoT front ends accept any certificate in the handshake and judge it in the protocol (CONNACK 5, HTTP 401).
Python's `ssl` cannot ask without verifying, so TLS runs here in pyOpenSSL over memory BIOs, as an asyncio protocol
around an inner one. TLS 1.2 and 1.3: azure-iot-device speaks only 1.2.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from OpenSSL import SSL, crypto

from local.azure.authority import Authority

CHUNK = 64 * 1024
HANDSHAKE_S = 20.0

Refuse = Callable[[bytes], bool]


def server_context(authority: Authority) -> SSL.Context:
    """The context that every server of one stand-in shares."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # Level 0 lets weak client certificates (SHA-1, RSA-1024) through to be judged in the protocol.
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_certificate(authority.certificate)
    context.use_privatekey(authority.key)
    # No resumption: a resumed session would not show the client's certificate chain again.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_id(b"rollover")
    context.set_verify(SSL.VERIFY_PEER, _let_in)
    return context


def _let_in(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    refuse = cast("Refuse | None", connection.get_app_data())
    if refuse is None or depth != 0:
        return True
    return not refuse(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


class TlsProtocol(asyncio.Protocol):
    """The network's side: bytes of TLS in and out."""

    def __init__(self, context: SSL.Context, inner: asyncio.Protocol, refuse: Refuse | None) -> None:
        self._inner = inner
        self._tls = SSL.Connection(context, None)
        self._tls.set_app_data(refuse)
        self._tls.set_accept_state()
        self._transport: asyncio.Transport | None = None
        self._app: TlsTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, transport.close)

    def data_received(self, data: bytes) -> None:
        try:
            self._tls.bio_write(data)
            if self._app is None and not self._shake_hands():
                return
            self._deliver()
            self.flush()
        except SSL.Error:
            self.flush()  # the alert, if there is one
            if self._transport is not None:
                self._transport.close()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self.flush()
            return False
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is None or self._transport.is_closing():
            return False
        self._app = TlsTransport(self, self._transport, peer_chain(self._tls))
        self._inner.connection_made(self._app)
        return True

    def _deliver(self) -> None:
        while self._app is not None and not self._app.is_closing():
            try:
                data = self._tls.recv(CHUNK)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                if not self._inner.eof_received():
                    self._app.close()
                return
            self._inner.data_received(data)

    def send(self, data: bytes) -> None:
        """Encrypt and send `data`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.send(view) :]
        self.flush()

    def say_goodbye(self) -> None:
        """Send the closing alert, so that the client sees an end and not a cut."""
        try:
            self._tls.shutdown()
        except SSL.Error:
            return
        self.flush()

    def flush(self) -> None:
        """Hand over what TLS wants sent."""
        while self._transport is not None and not self._transport.is_closing():
            try:
                self._transport.write(self._tls.bio_read(CHUNK))
            except SSL.WantReadError:
                return

    def eof_received(self) -> bool:
        if self._app is not None:
            self._inner.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._app is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._app is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._app is not None:
            self._inner.resume_writing()


class TlsTransport(asyncio.Transport):
    """The application's side: plain bytes; `peer_chain` among its extra infos."""

    def __init__(self, protocol: TlsProtocol, outer: asyncio.Transport, chain: list[bytes]) -> None:
        # "sslcontext" is how aiohttp learns that the scheme is https; any value that is true will do.
        super().__init__({"peer_chain": chain, "sslcontext": True})
        self._protocol = protocol
        self._outer = outer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        mine = super().get_extra_info(name)
        return self._outer.get_extra_info(name, default) if mine is None else mine

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._outer.is_closing():
            self._protocol.send(bytes(data))

    def close(self) -> None:
        if not self._outer.is_closing():
            self._protocol.say_goodbye()
            self._outer.close()

    def abort(self) -> None:
        self._outer.abort()

    def is_closing(self) -> bool:
        return self._outer.is_closing()

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._outer.pause_reading()

    def resume_reading(self) -> None:
        self._outer.resume_reading()

    def is_reading(self) -> bool:
        return self._outer.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._outer.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._outer.set_write_buffer_limits(high, low)


def peer_chain(connection: SSL.Connection) -> list[bytes]:
    """The client's certificates as DER, leaf first; empty when it showed none."""
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return []
    # OpenSSL leaves the leaf out of a client's chain on the server's side.
    rest = connection.get_peer_cert_chain() or []
    ders = [crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in (leaf, *rest)]
    return ders[:1] + [der for der in ders[1:] if der != ders[0]]


async def serve_tls(
    inner_factory: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    context: SSL.Context,
    refuse: Refuse | None = None,
) -> asyncio.Server:
    """Listen on `host:port`; each connection gets a fresh inner protocol once TLS stands.

    `refuse(leaf DER)` may turn a certificate away inside the handshake, with a TLS alert. OSError if the address
    is taken.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: TlsProtocol(context, cast("asyncio.Protocol", inner_factory()), refuse), host, port, backlog=1024
    )
