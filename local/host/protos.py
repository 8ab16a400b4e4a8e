"""The messages that the worker library and a host exchange, as plain classes with the fields of FunctionRpc.proto.

The library never imports protobuf: it uses whatever classes it is given under these names (azure-functions-runtime
``worker_init_request``: ``request.properties["protos"]``).
"""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class CollectionString:
    """``TypedData.collection_string``."""

    string: list[str] = field(default_factory=list)


@dataclass
class RpcHttp:
    """An HTTP request on its way in, or an answer on its way out."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    status_code: str = ""
    cookies: Any = None
    enable_content_negotiation: bool = False


@dataclass
class TypedData:
    """One value of one kind; the others are None."""

    string: str | None = None
    json: str | None = None
    bytes: "bytes | None" = None
    http: RpcHttp | None = None
    int: "int | None" = None
    double: float | None = None
    collection_string: CollectionString | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The kind that is set."""
        return next((f.name for f in fields(self) if getattr(self, f.name) is not None), None)


@dataclass
class StatusResult:
    """How a request went."""

    status: int = 1
    exception: "RpcException | None" = None
    Failure = 0
    Success = 1


@dataclass
class RpcException:
    """What went wrong, as text."""

    message: str = ""
    stack_trace: str = ""


def failure(message: str) -> StatusResult:
    """A request that went wrong, when the library could not say so itself."""
    return StatusResult(StatusResult.Failure, RpcException(message))


@dataclass
class BindingInfo:
    """One binding of a function."""

    type: str = ""
    data_type: Any = None
    direction: Any = None
    undefined = 0
    # FunctionRpc.proto: enum Direction { in = 0; out = 1; inout = 2; }
    out = 1
    inout = 2


@dataclass
class RpcFunctionMetadata:
    """One indexed function."""

    name: str = ""
    function_id: str = ""
    managed_dependency_enabled: bool = False
    directory: str = ""
    script_file: str = ""
    entry_point: str = ""
    is_proxy: bool = False
    language: str = ""
    bindings: dict[str, BindingInfo] = field(default_factory=dict)
    raw_bindings: list[str] = field(default_factory=list)
    retry_options: "RpcRetryOptions | None" = None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass
class RpcRetryOptions:
    """A ``@retry`` policy."""

    max_retry_count: int = 0
    retry_strategy: str = ""
    delay_interval: Any = None
    minimum_interval: Any = None
    maximum_interval: Any = None


@dataclass
class WorkerMetadata:
    """Which worker answers."""

    runtime_name: str = ""
    runtime_version: str = ""
    worker_version: str = ""
    worker_bitness: str = ""
    custom_properties: dict[str, str] = field(default_factory=dict)


@dataclass
class WorkerInitResponse:
    """Whether the app was indexed."""

    capabilities: dict[str, str] = field(default_factory=dict)
    worker_metadata: WorkerMetadata | None = None
    result: StatusResult = field(default_factory=StatusResult)


@dataclass
class FunctionMetadataResponse:
    """The indexed functions."""

    use_default_metadata_indexing: bool = False
    function_metadata_results: list[RpcFunctionMetadata] = field(default_factory=list)
    result: StatusResult = field(default_factory=StatusResult)


@dataclass
class FunctionLoadResponse:
    """An acknowledgement."""

    function_id: str = ""
    result: StatusResult = field(default_factory=StatusResult)


@dataclass
class FunctionEnvironmentReloadResponse:
    """Never asked for here: there is no placeholder to specialise."""

    result: StatusResult = field(default_factory=StatusResult)


@dataclass
class InvocationResponse:
    """How an invocation went and what it returned."""

    invocation_id: str = ""
    return_value: TypedData | None = None
    result: StatusResult = field(default_factory=StatusResult)
    output_data: list["ParameterBinding"] = field(default_factory=list)


@dataclass
class ParameterBinding:
    """A value bound to a parameter."""

    name: str = ""
    data: TypedData | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The kind that is set: shared memory is not offered here."""
        return "data" if self.data is not None else None


@dataclass
class _Value:
    value: Any = None


class NullableString(_Value):
    """A text or nothing."""


class NullableBool(_Value):
    """A truth value or nothing."""


class NullableDouble(_Value):
    """A number or nothing."""


class NullableTimestamp(_Value):
    """A time or nothing."""


@dataclass
class RpcHttpCookie:
    """A cookie of an answer."""

    name: str = ""
    value: str = ""
    domain: Any = None
    path: Any = None
    expires: Any = None
    secure: Any = None
    http_only: Any = None
    same_site: Any = None
    max_age: Any = None

    class SameSite:
        """``RpcHttpCookie.SameSite``."""

        Lax, Strict, ExplicitNone = 1, 2, 3


setattr(RpcHttpCookie.SameSite, "None", 0)  # a keyword, so not to be written as an attribute
