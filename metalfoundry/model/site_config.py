"""What the operator declares of the place: the way to it, kubectl, Smee, the guard. See docs/inventory.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ModelWrapValidatorHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.model.inventory_fields import (
    A_FILE,
    A_HOST_KEY,
    A_PORT,
    Argv,
    File,
    HostKey,
    Namespace,
    Port,
    Text,
    Url,
    Word,
    key,
)

LOCAL = "local"


class Section(BaseModel):
    """A mapping of known keys; a key without a value counts as not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None or name not in cls.model_fields}
        return data

    def given(self) -> dict[str, Any]:
        """The keys that were given, without those that have their default."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class JumpConfig(Section):
    """The jump host. None: as ssh_config says. Paths are absolute."""

    host: Annotated[
        Word, key("the jump host, where kubectl runs", "an address, a host name, or an alias of ~/.ssh/config")
    ]
    user: Annotated[Word | None, key("who logs in there", "a user name", default="as ssh_config says, else you")] = None
    port: Annotated[Port | None, key("where its sshd listens", A_PORT, default="as ssh_config says, else 22")] = None
    identity: Annotated[
        File | None, key("the private key to log in with", A_FILE, default="your agent and usual keys")
    ] = None
    host_key: Annotated[HostKey, key("what to do with the key the host shows", A_HOST_KEY)] = HostKeyPolicy.YES
    known_hosts: Annotated[File | None, key("where known host keys stand", A_FILE, default="~/.ssh/known_hosts")] = None

    @model_validator(mode="wrap")
    @classmethod
    def _local(cls, data: Any, handler: ModelWrapValidatorHandler[JumpConfig]) -> JumpConfig:
        return LocalJump(host="localhost") if data == LOCAL and cls is JumpConfig else handler(data)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"const": LOCAL}, handler(schema)]}

    def endpoint(self) -> Host:
        """The jump host as SSH sees it."""
        return Host(name=self.host, address=self.host, **self.model_dump(exclude={"host"}))


class LocalJump(JumpConfig):
    """This computer is the jump host, as `jump: local` says: kubectl runs here, and servers are reached from here."""

    def endpoint(self) -> Host:
        """This computer."""
        return Host(name=self.host, address=self.host, local=True)


class GuardConfig(Section):
    """The guard that `fab guard.install` puts into the cluster: its image, and how kubectl is called in there."""

    image: Annotated[
        Text, key("an image with a POSIX shell, kubectl, and GNU or busybox tools", "a container image")
    ] = "alpine/k8s:1.33.4"
    kubectl: Annotated[Argv, key("how kubectl is called in that image", "a command, or a list of its words")] = (
        "kubectl",
    )


class SiteConfig(Section):
    """The place: its jump host, and what is spoken to from there.

    `smee` is None where Smee cannot be asked; it never ends in a slash. `flux` "auto" pauses Flux for one object.
    """

    name: Annotated[Text | None, key("a name for the place, for scripts of yours", "a word")] = None
    jump: Annotated[
        JumpConfig, key("the way in; local: kubectl runs on this computer", "a mapping with at least `host`, or local")
    ]
    kubectl: Annotated[
        Argv, key("how kubectl is called on the jump host", "a command, or a list such as [sudo, k3s, kubectl]")
    ] = ("kubectl",)
    namespace: Annotated[Namespace, key("where Tinkerbell's objects live", "the name of a namespace")] = "tink-system"
    smee: Annotated[
        Url | None,
        key(
            "Smee as the jump host reaches it; asked for a second proof that netboot is closed",
            "a URL such as http://10.0.0.2:7171",
            default="Smee is not asked",
        ),
    ] = None
    flux: Annotated[
        Literal["auto", "off"],
        key("auto: where Flux manages the Hardware, it is paused for that one object during a run", "auto or off"),
    ] = "auto"
    guard: Annotated[
        GuardConfig, key("the guard in the cluster, which `fab guard.install` puts there", "a mapping")
    ] = GuardConfig()
